// Quality of a network's kept pseudo labels: curves over the threshold, and one line per class at the slider
import {dot, ring, sized, write} from './canvas.js'
import {css} from './pixels.js'
import {short} from './text.js'

const FRAME = {width: 310, height: 120, left: 38, right: 220, row: 17}

// Each curve as shares at 256 thresholds, NaN for a share of nothing
export function qualityCurves({kept, known, right, real, n}, K) {
  const at = (h, c) => h[K * 257 + c]
  const curve = f => Float64Array.from({length: 256}, (_, c) => f(c))
  const curves = {kept: curve(c => at(kept, c) / n)}
  if (!real[K]) return curves
  const precision = curve(c => at(right, c) / at(known, c))
  return {...curves, precision, recall: curve(c => at(right, c) / real[K])}
}

// Classes that are predicted or present, with their shares at threshold t
export function qualityRows({kept, known, right, real}, K, t) {
  const there = [...Array(K).keys()].filter(k => real[k] || kept[k * 257])
  return there.map(k => {
    const at = k * 257 + t
    const share = kept[k * 257] ? kept[at] / kept[k * 257] : 0
    return {k, kept: share, precision: right[at] / known[at], recall: right[at] / real[k]}
  })
}

export function drawQuality(v, canvas, {hist, title}, t) {
  const rows = qualityRows(hist, v.K, t)
  const ink = getComputedStyle(v.el).color
  const known = hist.real[v.K] > 0
  const about = `quality of the labels of ${title} by confidence`
  const g = sized(canvas, FRAME.width, FRAME.height + 44 + FRAME.row * rows.length, about)
  drawAxes(g, ink)
  Object.entries(qualityCurves(hist, v.K)).forEach(([name, y], i) => {
    drawCurve(g, name, y, v.look.curves[name], t)
    nameCurve(g, name, y[t], v.look.curves[name], ink, 20 + i * 16)
  })
  const heading = known ? 'class · kept ▬ · precision ● · recall ○, %' : 'class · kept ▬, % (no ground truth here)'
  g.fillStyle = ink
  write(g, heading, 2, FRAME.height + 22)
  rows.forEach((row, i) => drawRow(g, v, row, FRAME.height + 42 + FRAME.row * i, ink, known))
}

function drawAxes(g, ink) {
  const {height, left, right} = FRAME
  g.strokeStyle = g.fillStyle = ink
  g.globalAlpha = .35
  g.lineWidth = 1
  g.strokeRect(left, 10, right - left, height - 20)
  g.globalAlpha = 1
  write(g, '100 %', left - 2, 12, 'right')
  write(g, '0', left - 2, height - 10, 'right')
  write(g, 'confidence ≥', (left + right) / 2, height + 2, 'center')
  write(g, '0', left, height + 2, 'center')
  write(g, '1', right, height + 2, 'center')
}

const onX = c => FRAME.left + (FRAME.right - FRAME.left) * c / 255
const onY = share => 10 + (FRAME.height - 20) * (1 - share)

function drawCurve(g, name, y, colour, t) {
  g.strokeStyle = colour
  g.lineWidth = 1.5
  g.beginPath()
  y.forEach((share, c) => {
    if (!Number.isNaN(share)) g.lineTo(onX(c), onY(share))
  })
  g.stroke()
  const mark = name === 'recall' ? ring : dot
  if (!Number.isNaN(y[t])) mark(g, onX(t), onY(y[t]), colour)
}

function nameCurve(g, name, share, colour, ink, y) {
  g.fillStyle = colour
  g.fillRect(FRAME.right + 5, y - 5, 3, 10)
  g.fillStyle = ink
  write(g, `${name} ${Number.isNaN(share) ? '–' : (100 * share).toFixed(1)}`, FRAME.right + 10, y)
}

const hundredths = share => Number.isFinite(share) ? (100 * share).toFixed(0) : '–'

function drawRow(g, v, {k, kept, precision, recall}, y, ink, known) {
  const [from, to] = [96, FRAME.right + 30]
  const {curves} = v.look
  const x = share => from + (to - from) * share
  drawName(g, v, k, y, ink)
  g.globalAlpha = .25
  g.fillRect(from, y - .5, to - from, 1)
  g.globalAlpha = 1
  g.fillStyle = curves.kept
  g.fillRect(from, y - 2, (to - from) * kept, 4)
  if (!known) return
  if (Number.isFinite(recall)) ring(g, x(recall), y, curves.recall)
  if (Number.isFinite(precision)) dot(g, x(precision), y, curves.precision)
  g.fillStyle = ink
  write(g, `${hundredths(precision)} / ${hundredths(recall)}`, to + 7, y)
}

function drawName(g, v, k, y, ink) {
  g.fillStyle = css(v.palette[k])
  g.fillRect(2, y - 5, 10, 10)
  g.fillStyle = ink
  write(g, short(v.names[k], 13), 16, y)
}
