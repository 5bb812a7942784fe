// The panels on the page, in the order of their numbers
import {el} from './dom.js'
import {panelSize} from './geometry.js'
import {colours, css} from './pixels.js'

// All panels, or those that were chosen while one was large
export const shownPanels = v => v.panels.filter(p => !p.hidden)

export function frames(v, given) {
  v.ui.panels.replaceChildren()
  v.panels = given.map(({kind, title}, i) => frame(v, kind, title, i))
  choose(v)
}

function frame(v, kind, title, i) {
  const fig = el(v.ui.panels, 'figure')
  const caption = el(fig, 'figcaption')
  if (i < 9 && !v.tool) el(caption, 'kbd', '', i + 1)
  caption.append(title, ' ')
  caption.title = title
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

// Hides all panels but those with the titles in `v.only`; without such a panel, none
function choose(v) {
  if (!v.panels.some(p => v.only?.includes(p.title))) v.only = null
  for (const p of v.panels) p.hidden = p.fig.hidden = Boolean(v.only) && !v.only.includes(p.title)
}

// Shows only panels with these titles; all if `titles` is null or empty
export function showOnly(v, titles) {
  v.only = titles
  choose(v)
  size(v)
}

const EDGE = 8 // around panels

// The room beside the matrix, or above it on a very narrow page
function roomFor(v) {
  const {body, side} = v.ui
  const all = body.clientWidth
  const beside = all - side.offsetWidth - 2 * EDGE
  const narrow = side.offsetWidth > 0 && beside < 200
  body.classList.toggle('narrow', narrow)
  return side.offsetWidth && !narrow ? beside : all
}

// The part of the page that scrolls
export function scrolled(v) {
  let page = v.el.parentElement
  while (page && !/auto|scroll/.test(getComputedStyle(page).overflowY)) page = page.parentElement
  return page || document.documentElement
}

// What is seen of it below the head that sticks to its top
const heightFor = v => Math.min(scrolled(v).clientHeight, innerHeight) - v.ui.head.offsetHeight

const LEGEND = 66 // of a panel that has one, below it
const SCALE = 28

// Height of the legends or scales below panels
function below(panels) {
  if (panels.some(p => p.kind === 'disagreement')) return LEGEND
  return panels.some(p => p.kind === 'confidence' || p.kind === 'entropy') ? SCALE : 0
}

export function size(v) {
  const shown = shownPanels(v)
  const room = v.ui.body.clientWidth && roomFor(v)
  if (!room || !shown.length) return
  const height = heightFor(v)
  Object.assign(v.ui.side.style, {maxHeight: `${Math.max(200, height)}px`, top: `${v.ui.head.offsetHeight}px`})
  const free = {room, height: height - below(shown)}
  const s = panelSize(v.item, shown.length, v.model.get('height'), free, devicePixelRatio || 1)
  v.ui.panels.style.width = `${s.columns * (s.width + EDGE)}px`
  Object.assign(v, {W: s.W, H: s.H, sharp: Math.max(1, Math.round(s.W / s.width))})
  for (const p of shown) resizePanel(p, s)
}

function resizePanel(p, {width, height, W, H}) {
  p.fig.style.width = width + 'px'
  p.canvas.style.height = height + 'px'
  if (p.canvas.width === W && p.canvas.height === H && p.data) return
  Object.assign(p.canvas, {width: W, height: H})
  p.data = p.g.createImageData(W, H)
  p.out = new Uint32Array(p.data.data.buffer)
}
