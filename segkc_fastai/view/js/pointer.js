// The pointer: values under it, moving and zooming
import {followPointer, hasFocus} from './dom.js'
import {dragged, pixelAt, pointAt} from './geometry.js'
import {enlargePanel, zoomTo} from './keys.js'
import {change, guarded, idle, tell} from './traits.js'

function shares(ev, p) {
  const r = p.canvas.getBoundingClientRect()
  return [(ev.clientX - r.left) / r.width, (ev.clientY - r.top) / r.height]
}

function underPointer(v, ev, p) {
  const [fx, fy] = shares(ev, p)
  return {fx, fy, ...pixelAt(v.item, v.W, v.H, v.geo, fx, fy)}
}

// The point of the image under the pointer, in pixels; outside of the image, too
export const pointUnder = (v, ev, p) => pointAt(v.W, v.H, v.geo, ...shares(ev, p))

function nameOf(v, k) {
  if (k < v.K) return v.names[k]
  return k === v.look.ignore ? 'ignored' : `class ${k}`
}

function readPanel(v, {label, confidence, kind}, i) {
  const share = confidence && confidence[i] / 255
  if (label) return nameOf(v, label[i]) + (confidence ? ` ${share.toFixed(2)}` : '')
  return (kind === 'entropy' ? share * Math.log(v.K) : share).toFixed(2)
}

// The value of each panel at a pixel, for readers and for the kernel
function reading(v, x, y) {
  const i = y * v.item.w + x
  const found = {}
  if (v.item.truth && !v.byTitle.has('ground truth')) found.truth = nameOf(v, v.item.truth[i])
  for (const p of v.panels) if (p.label || p.confidence) found[p.title] = readPanel(v, p, i)
  return found
}

function hover(v, ev, p) {
  const {fx, fy, x, y} = underPointer(v, ev, p)
  if (x < 0 || y < 0) return
  v.over = p
  for (const other of v.panels) placeCross(other.cross, fx, fy, other === p)
  tell(v, () => readingText(v, fx, fy))
  clearTimeout(v.resting)
  v.resting = setTimeout(() => change(v, 'hover', {x, y, ...reading(v, x, y)}), 200)
}

// Of the same point of the panels, whatever they show now
function readingText(v, fx, fy) {
  const {x, y} = pixelAt(v.item, v.W, v.H, v.geo, fx, fy)
  const found = Object.entries(reading(v, x, y)).map(([title, text]) => `${title} ${text}`)
  return [`x=${x} y=${y}`, ...found].join(' · ')
}

function leave(v, ev) {
  for (const p of v.panels) p.cross.hidden = true
  if (ev.pointerType !== 'touch') idle(v) // a finger leaves as soon as it is lifted
}

function placeCross(cross, fx, fy, hidden) {
  Object.assign(cross.style, {left: `${100 * fx}%`, top: `${100 * fy}%`})
  cross.hidden = hidden
}

function grab(v, ev, p) {
  if (!p) return
  v.el.focus({preventScroll: true})
  p.canvas.setPointerCapture(ev.pointerId)
  if (v.tool?.down(ev, p)) return
  v.drag = {x: ev.clientX, y: ev.clientY, zoom: v.model.get('zoom'), p}
}

function move(v, ev, under) {
  const p = v.drag?.p || under
  if (!p || !v.geo) return
  v.tool?.move(ev, p)
  if (!v.drag) return hover(v, ev, p)
  const {x, y, zoom} = v.drag
  const r = p.canvas.getBoundingClientRect()
  if (zoom[0] > 1) change(v, 'zoom', dragged(zoom, (ev.clientX - x) / r.width, (ev.clientY - y) / r.height))
}

// Only with the focus, so that the page can be scrolled past the viewer
function wheel(v, ev, p) {
  if (!p || !hasFocus(v.el)) return
  ev.preventDefault()
  const {x, y} = underPointer(v, ev, p)
  zoomTo(v, v.model.get('zoom')[0] * Math.exp(-ev.deltaY / 400), [x + .5, y + .5])
}

export function pointer(v) {
  const box = v.ui.panels
  const panel = ev => v.panels.find(p => p.canvas === ev.target)
  const listen = (type, f, options) => box.addEventListener(type, guarded(v, f), options)
  const letGo = ev => {
    v.drag = null
    v.tool?.up(ev)
  }
  const [down, drift] = [grab, move].map(f => guarded(v, ev => f(v, ev, panel(ev))))
  v.off.push(followPointer(box, {down, move: drift, up: guarded(v, letGo)}))
  listen('pointerleave', ev => leave(v, ev))
  listen('dblclick', ev => !v.tool && panel(ev) && enlargePanel(v, panel(ev)))
  listen('wheel', ev => wheel(v, ev, panel(ev)), {passive: false})
}
