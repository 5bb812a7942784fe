// The classes of two networks crossed. `v.cross` has the two panels, their counts and the order of the classes
import {sized, write} from './canvas.js'
import {crossCount} from './counts.js'
import {clamp} from './geometry.js'
import {css} from './pixels.js'
import {percent, short, thousands} from './text.js'

const MARGIN = 78 // names of the classes
const SLANT = 34 // the last slanted name
const CELLS = [6, 20] // smallest and largest side of a cell

const inner = K => Math.min(300, CELLS[1] * K)

// The same for all images, whatever classes they have
export const matrixWidth = K => Math.max(MARGIN + inner(K) + SLANT, 200)

const total = numbers => numbers.reduce((sum, n) => sum + n, 0)

// Pixels that exactly one of the two labels k
function disputedPixels(count, K, k) {
  const others = [...Array(K).keys()].filter(j => j !== k)
  return total(others.map(j => count[k * K + j] + count[j * K + k]))
}

// Classes that either network predicts, the most disputed first or by number; the order stays while the threshold moves
export function classOrder(count, K, byNumber) {
  const off = [...Array(K).keys()].map(k => disputedPixels(count, K, k))
  const there = [...off.keys()].filter(k => off[k] || count[k * K + k])
  return there.sort((k, l) => byNumber ? k - l : off[l] - off[k])
}

export function pairing(v) {
  const [a, b] = v.model.get('matrix').map(title => v.byTitle.get(title))
  if (!a?.label || !b?.label) {
    v.cross = null
    return
  }
  const count = crossCount(a, b, 0, v.K, v.cross?.count || new Uint32Array(v.K * v.K))
  v.cross = {a, b, count, order: classOrder(count, v.K, v.byNumber)}
}

export function recount(v, t) {
  const {a, b, count} = v.cross
  if (v.cross.t !== t) crossCount(a, b, t, v.K, count)
  v.cross.t = t
}

export function drawMatrix(v, canvas, cell, which = ' both keep') {
  const {order, a, b} = v.cross
  const n = order.length
  const side = v.cross.side = clamp(Math.floor(inner(v.K) / n), ...CELLS)
  const wide = Math.max(matrixWidth(v.K), MARGIN + n * side + SLANT)
  const about = `classes of ${a.title} crossed with those of ${b.title}`
  const g = sized(canvas, wide, MARGIN + Math.max(inner(v.K), n * side) + 22, about)
  const ink = getComputedStyle(v.el).color
  g.fillStyle = ink
  write(g, short(`${a.title} ↓  ${b.title} →`, 40), 2, 8)
  order.forEach((k, i) => {
    if (side >= 9 || i % 2 === 0) nameClass(g, v.names[k], MARGIN + (i + .5) * side)
  })
  order.forEach((k, i) => colourClass(g, css(v.palette[k]), MARGIN + i * side + 1, side - 2))
  shade(g, v, side, ink)
  g.fillStyle = ink
  write(g, `shade: log of pixels${which}; click`, 2, MARGIN + n * side + 12)
  if (cell && cell[0] === a.title && cell[1] === b.title) frameCell(g, order, side, cell.slice(2), ink)
  g.setLineDash([2, 2])
  if (v.pointed) frameCell(g, order, side, v.pointed, ink)
  g.setLineDash([])
}

function nameClass(g, name, at) {
  write(g, short(name, 11), MARGIN - 14, at, 'right')
  g.save()
  g.translate(at, MARGIN - 14)
  g.rotate(-Math.PI / 3)
  write(g, short(name, 10), 0, 0)
  g.restore()
}

function colourClass(g, colour, at, size) {
  g.fillStyle = colour
  g.fillRect(MARGIN - 11, at, 8, size)
  g.fillRect(at, MARGIN - 11, size, 8)
}

// Shaded by the logarithm of the counts: a boundary of a rare class matters, and would vanish beside the road
function shade(g, v, side, ink) {
  const {order, count} = v.cross
  const top = Math.log1p(count.reduce((most, n) => Math.max(most, n), 0))
  order.forEach((k, i) => order.forEach((l, j) => {
    const n = count[k * v.K + l]
    g.fillStyle = k === l ? ink : v.look.disputed
    g.globalAlpha = n ? (k === l ? .3 : 1) * (.08 + .92 * Math.log1p(n) / top) : .04
    g.fillRect(MARGIN + j * side, MARGIN + i * side, side - 1, side - 1)
  }))
  g.globalAlpha = 1
}

function frameCell(g, order, side, classes, ink) {
  const [i, j] = classes.map(k => order.indexOf(k))
  if (i < 0 || j < 0) return
  g.strokeStyle = ink
  g.lineWidth = 2
  g.strokeRect(MARGIN + j * side - 1, MARGIN + i * side - 1, side + 1, side + 1)
}

// The classes under a point of the matrix, null outside its cells
export function cellAt({order, side}, x, y) {
  const [i, j] = [y, x].map(o => Math.floor((o - MARGIN) / side))
  return i >= 0 && j >= 0 && i < order.length && j < order.length ? [order[i], order[j]] : null
}

export function cellText(v, [k, l], which = 'that both keep') {
  const {a, b, count} = v.cross
  const [n, of] = [count[k * v.K + l], total(count)]
  const what = `${a.title} ${v.names[k]} × ${b.title} ${v.names[l]}`
  return `${what}: ${thousands(n)} pixels, ${percent(n, of, 2)} of the ${thousands(of)} ${which}`
}

// The cell that is outlined in the panels; empty without one
export function cellLine(v) {
  const cell = v.model.get('cell')
  const {a, b} = v.cross || {}
  if (!cell || cell[0] !== a?.title || cell[1] !== b.title) return ''
  return `outlined: ${cellText(v, cell.slice(2))}; Esc clears`
}
