// The panels on the page. They wrap on a narrow page, and shrink if even one would not fit
import {el} from './dom.js'
import {panelSize} from './geometry.js'
import {colours, css} from './pixels.js'

export function frames(v, given) {
  v.ui.panels.replaceChildren()
  v.panels = given.map(({kind, title}, i) => frame(v, kind, title, i))
}

function frame(v, kind, title, i) {
  const fig = el(v.ui.panels, 'figure')
  const caption = el(fig, 'figcaption')
  if (i < 9 && !v.tool) el(caption, 'kbd', '', i + 1)
  caption.append(title, ' ')
  const note = el(caption, 'small')
  const p = {kind, title, fig, note, ...drawingBox(fig, kind, title)}
  if (kind === 'disagreement') p.scale = el(fig, 'div', 'parts')
  if (kind === 'confidence' || kind === 'entropy') p.mark = scale(v, kind, el(fig, 'div', 'scale'))
  return p
}

function drawingBox(fig, kind, title) {
  const box = el(fig, 'div', 'box')
  const canvas = el(box, 'canvas')
  const cross = el(box, 'div', 'cross')
  Object.assign(canvas.dataset, {title, kind})
  canvas.setAttribute('role', 'img')
  canvas.setAttribute('aria-label', title)
  return {canvas, cross, g: canvas.getContext('2d', {willReadFrequently: true})}
}

// The ramp with its ends; for confidence also the mark that follows the slider
function scale(v, kind, box) {
  const ramp = v.look.ramps[kind]
  const bar = el(box, 'div', 'bar')
  const stops = [...Array(17).keys()].map(i => css(ramp[Math.min(255, 16 * i)]))
  bar.style.background = `linear-gradient(90deg, ${stops.join()})`
  const top = kind === 'entropy' ? `${Math.log(v.K).toFixed(2)} nats` : '1'
  for (const text of ['0', kind, top]) el(box, 'span', '', text)
  return kind === 'confidence' ? el(bar, 'div', 'mark') : null
}

export function size(v) {
  const n = v.panels.length
  const want = v.model.get('height') * v.item.w / v.item.h
  v.ui.main.style.maxWidth = Math.max(560, Math.ceil(n * (want + 8))) + 'px' // the side canvases stay near
  const room = v.ui.panels.clientWidth
  if (!room || !n) return
  const s = panelSize(v.item, n, want, room, devicePixelRatio || 1)
  Object.assign(v, {W: s.W, H: s.H})
  for (const p of v.panels) resizePanel(p, s)
}

function resizePanel(p, {width, height, W, H}) {
  p.fig.style.width = width + 'px'
  p.canvas.style.height = height + 'px'
  if (p.canvas.width === W && p.canvas.height === H && p.data) return
  Object.assign(p.canvas, {width: W, height: H})
  p.data = p.g.createImageData(W, H)
  p.out = new Uint32Array(p.data.data.buffer)
}
