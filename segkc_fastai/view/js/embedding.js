// A map of images as points on a canvas: colours, a lasso, and what is under the pointer
import {commanding, el, followPointer, hasFocus, hideStill, keyOf, ownKeys, put, u8, widgetRoot} from './dom.js'
import {clamp} from './geometry.js'
import {colourKeys} from './map_keys.js'
import {
  discOffsets, enclosed, extentOf, mixed, nearestPoint, pixelColour, placePoints, pointToward, splat, unitPixels,
} from './scatter.js'

const HELP_OF_MAP = 'drag: select · shift-drag: add · wheel, + − 0: zoom · ctrl-drag: move · arrows: next image · '
  + 'space: select it · c: colour · Esc: clear'

function renderMap({model, el: host}) {
  const root = widgetRoot(host, 'segkc segkc-map', `map of images: ${model.get('title')}`)
  const m = {model, root, view: [1, .5, .5], line: null, thumbs: new Map()}
  m.root.tabIndex = 0
  m.xy = new Float32Array(u8(model.get('_xy')).slice().buffer)
  m.extent = extentOf(m.xy)
  buildMap(m)
  m.chosen = new Set(model.get('_chosen'))
  m.draw = () => drawMap(m)
  m.pick = indices => choosePoints(m, indices)
  const room = new ResizeObserver(m.draw)
  room.observe(m.plot)
  const theme = new MutationObserver(m.draw)
  theme.observe(document.body, {attributeFilter: ['class', 'data-jp-theme-name', 'data-vscode-theme-kind']})
  const shown = hideStill(model)
  const off = ownKeys(m.root)
  const events = followModel(m)
  const pointer = watchPlot(m)
  watchMapKeys(m)
  return () => {
    room.disconnect()
    theme.disconnect()
    for (const f of [shown, off, events, pointer]) f()
  }
}

function buildMap(m) {
  const bar = el(m.root, 'div', 'tools')
  el(bar, 'b', '', m.model.get('title'))
  const box = el(bar, 'label', '', 'colour')
  m.select = el(box, 'select', 'colour')
  for (const o of m.model.get('_layers')) el(m.select, 'option', '', o.title)
  m.select.onchange = () => setMap(m, 'colour', m.select.value)
  const clear = Object.assign(el(bar, 'button', '', 'clear'), {title: 'clear the selection (Esc)'})
  clear.onclick = () => choosePoints(m, [])
  m.count = el(bar, 'output', 'count')
  m.plot = el(m.root, 'div', 'plot')
  m.canvas = el(m.plot, 'canvas')
  m.canvas.setAttribute('role', 'img')
  m.over = el(m.plot, 'canvas', 'over')
  m.tip = el(m.plot, 'div', 'tip')
  m.tip.hidden = true
  el(m.root, 'div', 'axes', m.model.get('axes'))
  m.keys = el(m.root, 'div', 'keys-of-map')
  el(m.root, 'div', 'help-of-map', HELP_OF_MAP)
  m.said = el(m.root, 'div', 'line')
  m.said.setAttribute('aria-live', 'polite')
}

function setMap(m, name, value) {
  m.model.set(name, value)
  m.model.save_changes()
}

const layerOf = m => m.model.get('_layers').find(o => o.title === m.model.get('colour'))

function choosePoints(m, indices) {
  m.chosen = new Set(indices)
  setMap(m, '_chosen', [...m.chosen])
  m.draw()
}

function followModel(m) {
  const chosen = () => {
    m.chosen = new Set(m.model.get('_chosen'))
    m.draw()
  }
  const arrived = (msg, buffers) => {
    if (msg.thumb == null || m.thumbs.get(msg.thumb)) return
    m.thumbs.set(msg.thumb, URL.createObjectURL(new Blob([u8(buffers[0])], {type: 'image/jpeg'})))
    if (m.shown === msg.thumb) showTip(m, msg.thumb)
  }
  m.model.on('change:_chosen', chosen)
  m.model.on('change:colour change:height change:_at', m.draw)
  m.model.on('msg:custom', arrived)
  return () => {
    m.model.off('change:_chosen', chosen)
    m.model.off('change:colour change:height change:_at', m.draw)
    m.model.off('msg:custom', arrived)
    for (const url of m.thumbs.values()) URL.revokeObjectURL(url)
  }
}

const rgbOf = (e, name) => getComputedStyle(e)[name].match(/[\d.]+/g).slice(0, 3).map(Number)

// The colours of the page: text, and the first background behind the map that is not transparent
function pageColours(e) {
  let at = e
  while (at && /, 0\)|transparent/.test(getComputedStyle(at).backgroundColor)) at = at.parentElement
  return {ink: rgbOf(e, 'color'), page: at ? rgbOf(at, 'backgroundColor') : [255, 255, 255]}
}

function drawMap(m) {
  const since = performance.now()
  const ratio = window.devicePixelRatio || 1
  const [W, H] = [Math.round((m.plot.clientWidth || 600) * ratio), Math.round(m.model.get('height') * ratio)]
  for (const c of [m.canvas, m.over]) if (c.width !== W || c.height !== H) Object.assign(c, {width: W, height: H})
  m.canvas.style.height = `${H / ratio}px`
  m.ratio = ratio
  m.places = placePoints(m.xy, W, H, m.view, m.extent)
  paintPoints(m, W, H)
  const layer = layerOf(m)
  m.select.value = layer.title
  colourKeys(m, layer)
  put(m.count, `${m.chosen.size} of ${m.xy.length / 2} selected`)
  m.canvas.setAttribute('aria-label', `images by ${layer.title}, ${m.count.textContent}`)
  drawOver(m)
  if (m.shown >= 0) showTip(m, m.shown)
  m.root.dataset.ms = (performance.now() - since).toFixed(1)
  m.root.dataset.draws = +(m.root.dataset.draws ?? 0) + 1
}

// Rings first, then discs; what is selected lies on top, and the others fade
function paintPoints(m, W, H) {
  const layer = layerOf(m)
  const {ink, page} = pageColours(m.root)
  const values = u8(layer.values)
  const any = m.chosen.size > 0
  const table = layer.colours.map(c => pixelColour(c))
  const faded = layer.colours.map(c => pixelColour(mixed(c, page, .25)))
  const n = m.xy.length / 2
  const [below, above] = [[], []]
  const colours = new Uint32Array(n)
  const rings = new Uint32Array(n)
  const [ring, pale] = [pixelColour(mixed(ink, page, .55)), pixelColour(mixed(ink, page, .15))]
  for (let i = 0; i < n; i++) {
    const on = m.chosen.has(i)
    const bright = on || !any
    colours[i] = (bright ? table : faded)[values[i]]
    rings[i] = bright ? ring : pale
    const list = on ? above : below
    list.push(i)
  }
  const context = m.canvas.getContext('2d')
  const picture = context.createImageData(W, H)
  const pixels = new Uint32Array(picture.data.buffer)
  const size = m.ratio * (n > 2000 ? 2.5 : 4)
  const [outer, inner] = [discOffsets(size + m.ratio), discOffsets(size)]
  for (const list of [below, above]) {
    splat(pixels, W, H, m.places, list, rings, outer)
    splat(pixels, W, H, m.places, list, colours, inner)
  }
  context.putImageData(picture, 0, 0)
}

// The lasso, and a ring around the current image
function drawOver(m) {
  const context = m.over.getContext('2d')
  context.clearRect(0, 0, m.over.width, m.over.height)
  context.strokeStyle = getComputedStyle(m.root).color
  context.lineWidth = 1.5 * m.ratio
  context.beginPath()
  if (m.line) for (let k = 0; k < m.line.length; k += 2) context.lineTo(m.line[k], m.line[k + 1])
  const at = m.model.get('_at')
  if (at >= 0) {
    context.moveTo(m.places.xs[at] + 8 * m.ratio, m.places.ys[at])
    context.arc(m.places.xs[at], m.places.ys[at], 8 * m.ratio, 0, 7)
  }
  context.stroke()
}

function placeOf(m, ev) {
  const r = m.canvas.getBoundingClientRect()
  return [(ev.clientX - r.left) * m.ratio, (ev.clientY - r.top) * m.ratio]
}

// Returns how to stop
function watchPlot(m) {
  let held = null
  const down = ev => {
    if (ev.button) return
    m.root.focus({preventScroll: true})
    m.plot.setPointerCapture(ev.pointerId)
    held = placeOf(m, ev)
    m.moves = ev.ctrlKey || ev.metaKey
    m.line = m.moves ? null : [...held]
    hideTip(m)
  }
  const move = ev => {
    const [x, y] = placeOf(m, ev)
    if (!held) return hoverPoint(m, nearestPoint(m.places, x, y, 9 * m.ratio))
    if (m.moves) {
      moveBy(m, x - held[0], y - held[1])
      held = [x, y]
    } else if (Math.hypot(x - m.line.at(-2), y - m.line.at(-1)) > 2 * m.ratio) {
      m.line.push(x, y)
      drawOver(m)
    }
  }
  const up = ev => {
    if (held && m.line) endLasso(m, held, ev)
    held = null
  }
  m.plot.addEventListener('pointerleave', () => held || hideTip(m))
  m.plot.addEventListener('wheel', ev => wheelOver(m, ev), {passive: false})
  return followPointer(m.plot, {down, move, up})
}

// Only with the focus, as in a viewer
export function wheelOver(m, ev) {
  if (!hasFocus(m.root)) return
  ev.preventDefault()
  zoomMap(m, ev.deltaY < 0 ? 1.25 : .8, placeOf(m, ev))
}

// A click makes an image the current one; a lasso selects, unless the browser cancels it
function endLasso(m, [x, y], ev) {
  const since = performance.now()
  const line = m.line
  m.line = null
  if (ev.type === 'pointercancel') return drawOver(m)
  if (line.length > 6) {
    choosePoints(m, ev.shiftKey ? [...m.chosen, ...enclosed(m.places, line)] : enclosed(m.places, line))
    m.root.dataset.lasso = (performance.now() - since).toFixed(1)
  } else {
    const at = nearestPoint(m.places, x, y, 9 * m.ratio)
    if (at >= 0) current(m, at)
    drawOver(m)
  }
}

function moveBy(m, dx, dy) {
  const [times, cx, cy] = m.view
  const unit = unitPixels(m.canvas.width, m.canvas.height, m.extent, times)
  m.view = [times, cx - dx / unit, cy + dy / unit]
  m.draw()
}

function zoomMap(m, factor, [x, y] = [m.canvas.width / 2, m.canvas.height / 2]) {
  const [times] = m.view
  const now = clamp(times * factor, 1, 60)
  const [dx, dy] = [(m.canvas.width / 2 - x) * (now / times - 1), (m.canvas.height / 2 - y) * (now / times - 1)]
  m.view = now === 1 ? [1, .5, .5] : [now, ...m.view.slice(1)]
  if (now === 1) m.draw()
  else moveBy(m, dx, dy)
}

function current(m, at) {
  setMap(m, '_at', at)
  put(m.said, tipLines(m, at).join(' · '))
  m.draw()
}

function tipLines(m, i) {
  const found = m.model.get('_layers').map(o => (o.kind === 'share' ? shareText : classText)(o, u8(o.values)[i]))
  return [m.model.get('_names')[i], ...found.filter(o => o)]
}

const classText = (o, v) => v === 255 ? '' : `${o.title}: ${o.names[v]}`
const shareText = (o, v) => v === 255 ? '' : `${o.title}: ${(o.low + (o.high - o.low) * v / 254).toFixed(0)} %`

function hoverPoint(m, i) {
  if (i === m.shown) return
  m.shown = i
  if (i < 0) return hideTip(m)
  if (!m.thumbs.has(i)) {
    m.thumbs.set(i, '') // asked for once
    m.model.send({want: i})
  }
  showTip(m, i)
}

function showTip(m, i) {
  m.tip.replaceChildren()
  const [name, ...lines] = tipLines(m, i)
  if (m.thumbs.get(i)) Object.assign(el(m.tip, 'img'), {src: m.thumbs.get(i), alt: name})
  el(m.tip, 'b', '', name)
  for (const o of lines) el(m.tip, 'div', '', o)
  const [x, y] = [m.places.xs[i] / m.ratio, m.places.ys[i] / m.ratio]
  const right = x > m.plot.clientWidth / 2
  const low = y > m.model.get('height') / 2
  Object.assign(m.tip.style, {
    left: right ? '' : `${x + 12}px`,
    right: right ? `${m.plot.clientWidth - x + 12}px` : '',
    top: low ? '' : `${y + 12}px`,
    bottom: low ? `${m.model.get('height') - y + 12}px` : '',
  })
  m.tip.hidden = x < 0 || y < 0 || x > m.plot.clientWidth || y > m.model.get('height') // after zooming
}

function hideTip(m) {
  m.shown = -1
  m.tip.hidden = true
}

const ARROWS_OF_MAP = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}

const MAP_KEYS = {
  '+': m => zoomMap(m, 1.5),
  '=': m => zoomMap(m, 1.5),
  '-': m => zoomMap(m, 1 / 1.5),
  '0': m => zoomMap(m, 0),
  ' ': toggleCurrent,
  c: nextColour,
  Escape: m => m.chosen.size ? choosePoints(m, []) : m.root.blur(),
}

function toggleCurrent(m) {
  const at = m.model.get('_at')
  if (at < 0) return
  const rest = [...m.chosen].filter(i => i !== at)
  choosePoints(m, m.chosen.has(at) ? rest : [...rest, at])
}

function nextColour(m) {
  const titles = m.model.get('_layers').map(o => o.title)
  setMap(m, 'colour', titles[(titles.indexOf(m.model.get('colour')) + 1) % titles.length])
}

function watchMapKeys(m) {
  m.root.addEventListener('keydown', ev => {
    if (commanding(ev)) return
    ev.stopPropagation()
    const typed = ev.target.tagName === 'SELECT' || ev.target.tagName === 'BUTTON' && /^( |Enter)$/.test(ev.key)
    if (typed) return
    const key = keyOf(ev)
    const arrow = ARROWS_OF_MAP[key]
    if (arrow) stepTo(m, arrow)
    else if (Object.hasOwn(MAP_KEYS, key)) MAP_KEYS[key](m)
    else return
    ev.preventDefault()
  })
  for (const type of ['keyup', 'keypress']) m.root.addEventListener(type, ev => ev.stopPropagation())
}

// From the image in the middle at first; the tip shows the image as under the pointer
function stepTo(m, [dx, dy]) {
  const at = m.model.get('_at')
  const middle = () => nearestPoint(m.places, m.canvas.width / 2, m.canvas.height / 2, Infinity)
  const to = at < 0 ? middle() : pointToward(m.places, at, dx, dy)
  current(m, to)
  m.shown = -1
  hoverPoint(m, to)
}

export default {render: renderMap}
