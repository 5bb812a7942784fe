// A new image: its maps and pictures are looked up by names that derive from their content
import {legends, partsLegend} from './beside.js'
import {comparePanels, countPanels, countsOf} from './counted.js'
import {put, u8} from './dom.js'
import {draw} from './draw.js'
import {palette} from './look.js'
import {pairing} from './matrix.js'
import {frames, size} from './panels.js'
import {change, idle} from './traits.js'
import {decode} from './visible.js'

const held = new Map() // name → map, or promise of a decoded image; the kernel says which to drop
const requested = new Set() // names that are on their way

// Runs before any message, and once for all views of a model
export function initialize({model}) {
  const hold = (msg, buffers) => {
    msg.hold?.forEach((name, i) => held.set(name, name[0] === 'i' ? decode(buffers[i]) : u8(buffers[i]).slice()))
    msg.drop?.forEach(name => held.delete(name))
    for (const name of [...msg.hold || [], ...msg.drop || []]) requested.delete(name)
    if (msg.count) countAhead(model, msg)
  }
  model.on('msg:custom', hold)
  return () => {
    model.off('msg:custom', hold)
    held.clear()
    requested.clear()
  }
}

export const lookUp = name => name ? held.get(name) : null

const whenIdle = f => window.requestIdleCallback ? requestIdleCallback(f) : setTimeout(f, 50)

// Counts ahead for panels that will be shown soon, one map at a time
function countAhead(model, {count, truth}) {
  const panels = count.map(p => ({...p, label: lookUp(p.label), confidence: lookUp(p.confidence)}))
  const todo = countsOf(panels, lookUp(truth), model.get('_names').length, model.get('_tables').ignore)
  const next = () => {
    todo.shift()?.()
    if (todo.length) whenIdle(next)
  }
  whenIdle(next)
}

function lacking(item, given) {
  const names = [item.image, item.truth, ...given.flatMap(p => [p.label, p.confidence, p.image])]
  return names.filter(name => name && !held.has(name))
}

function request(v, want) {
  for (const name of want) requested.add(name)
  if (want.length) v.model.send({want})
}

// A picture that arrives after the next one was requested is dropped
export async function arrive(v) {
  const mine = ++v.arriving
  const item = v.model.get('_item')
  const given = v.model.get('_panels')
  if (!item.w) return
  const lack = lacking(item, given)
  v.lacks = lack.length > 0
  if (v.lacks) return request(v, lack.filter(name => !requested.has(name)))
  const truth = lookUp(item.truth)
  const maps = given.map(p => ({of: p.of, label: lookUp(p.label), confidence: lookUp(p.confidence), base: null}))
  const [image, ...own] = await Promise.all([item, ...given].map(o => lookUp(o.image)))
  if (mine !== v.arriving) return
  Object.assign(v, {image, item: {...item, truth}, generation: mine})
  takeOver(v, given, maps, own)
  arrived(v)
}

// Panels are rebuilt only when their titles or kinds change, so nothing flickers between images
function takeOver(v, given, maps, own) {
  const shape = given.map(p => p.kind + p.title).join('\n')
  if (shape !== v.shape) frames(v, given)
  v.shape = shape
  v.panels.forEach((p, i) => Object.assign(p, maps[i], {own: own[i]}))
  v.byTitle = new Map(v.panels.map(p => [p.title, p]))
}

function arrived(v) {
  clearTimeout(v.resting) // the pointer was over the image before
  if (v.model.get('hover').x != null) change(v, 'hover', {})
  v.tool?.begin()
  comparePanels(v)
  for (const p of v.panels) if (p.kind === 'disagreement') partsLegend(v, p)
  countPanels(v)
  pairing(v)
  palette(v)
  size(v)
  legends(v)
  put(v.ui.name, v.item.name)
  if (!v.telling) idle(v) // a message was about the view before
  draw(v)
  if (v.asked) v.el.dataset.next = (performance.now() - v.asked).toFixed(2)
  v.asked = 0
  Object.assign(v.el.dataset, {name: v.item.name, arrived: v.generation})
}
