// Only `draw` paints the panels. It runs once at the end of an event, however many traits changed
import {beside, replacement} from './beside.js'
import {blend, outline} from './blend.js'
import {byteThreshold, cellHits, keeps} from './counts.js'
import {tables} from './look.js'
import {shownPanels} from './panels.js'
import {visible} from './visible.js'

export function draw(v) {
  if (!v.image || !v.W) return
  const t = byteThreshold(v.model.get('threshold'))
  const cell = v.model.get('cell')
  visible(v)
  const mixed = tables(v)
  const hit = findCell(v, cell, t)
  for (const p of shownPanels(v)) {
    paint(v, p, mixed, t, hit)
    p.g.putImageData(p.data, 0, 0)
  }
  beside(v, t, cell)
  v.tool?.drawn()
  v.el.dataset.ms = (performance.now() - v.since).toFixed(2)
  v.el.dataset.draws = +(v.el.dataset.draws || 0) + 1
}

export function redraw(v) {
  v.since = performance.now()
  draw(v)
}

// The layer that a panel shows now: keys can replace it
function layer(v, p) {
  if (v.blink || p.off) return 'image'
  if (p.kind === 'label') return replacement(v) || 'label'
  return p.kind === 'disagreement' ? 'parts' : p.kind
}

// Writes the pixels of a panel into p.out
export function paint(v, p, mixed, t, hit) {
  const kind = layer(v, p)
  const base = p.base || (kind === 'parts' ? v.grey : v.base)
  if (kind === 'image') p.out.set(base)
  else {
    VALUES[kind](v, p, t)
    blend(p.out, base, v.val, mixed[kind === 'truth' ? 'label' : kind])
  }
  if (hit) outline(p.out, v.hit, v.W)
}

// Writes the values that choose the colours of the visible pixels into v.val
const VALUES = {
  label: labelValues,
  truth: v => pick(v, v.item.truth),
  parts: partValues,
  confidence: (v, p) => pick(v, p.confidence),
  entropy: (v, p) => pick(v, p.confidence),
}

function pick({val, idx}, map) {
  for (let k = 0; k < idx.length; k++) val[k] = map[idx[k]]
}

function labelValues(v, {label, confidence}, t) {
  const {val, idx} = v
  if (!confidence || !t) return pick(v, label)
  for (let k = 0; k < idx.length; k++) {
    const i = idx[k]
    val[k] = label[i] | (confidence[i] < t) << 8
  }
}

// A pixel is ignored unless a network or the ground truth labels it with a visible class
function partValues(v, p, t) {
  const {val, idx, on, grain} = v
  const {parts, a, b} = v.parts.get(p.kind === 'disagreement' ? p.of.join('\n') : v.pair)
  const truth = v.item.truth || a.label
  const patterned = +!!v.item.truth
  for (let k = 0; k < idx.length; k++) {
    const i = idx[k]
    const part = v.all || on[a.label[i]] | on[b.label[i]] | on[truth[i]] ? parts[i] : v.look.ignore
    const lost = !keeps(a, i, t) || !keeps(b, i, t)
    val[k] = part | lost << 8 | (grain[k] >> part & patterned) << 9
  }
}

// Writes the pixels of the chosen cell of the matrix into v.hit; false without a cell, or if it has no pixels here
export function findCell(v, cell, t) {
  const [a, b] = (cell || []).map(title => v.byTitle.get(title))
  if (!a || !b) return false
  cellHits(a, b, cell.slice(2), t, v.idx, v.hit)
  return v.hit.includes(1)
}
