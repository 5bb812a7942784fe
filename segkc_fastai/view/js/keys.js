// Keys work while the viewer has the focus, and go no further
import {comparePanels, countPanels} from './counted.js'
import {redraw} from './draw.js'
import {clamp, zoomed} from './geometry.js'
import {showOnly} from './panels.js'
import {alone, change, say} from './traits.js'

// Keys, and what they do
export const HELP = [
  ['← →', 'previous, next image'],
  ['↑ ↓', 'later, earlier record'],
  ['1–9', 'mask of a panel on or off'],
  ['m', 'enlarge one panel, 1–9 add others; back'],
  ['double click', 'the same as m'],
  ['space', 'image without masks, and back'],
  ['g', 'ground truth in all label panels'],
  ['d', 'comparison in all label panels'],
  ['c', 'only the next class; after the last, all'],
  ['[ ]', 'confidence'],
  ['+ − 0', 'zoom; also the wheel'],
  ['drag', 'move the image, when zoomed'],
  ['o', 'safe colours'],
  ['r', 'reset'],
  ['f', 'save as a picture'],
  ['Shift', 'hold: numbers of all images'],
  ['Esc', 'clear the cell, then the zoom; leave'],
  ['?', 'this table'],
]

const zoomTimes = v => v.model.get('zoom')[0]

const KEYS = {
  ' ': v => flip(v, 'blink', 'on'),
  '[': v => stepThreshold(v, -5),
  ']': v => stepThreshold(v, 5),
  '+': v => zoomTo(v, zoomTimes(v) * 1.5),
  '=': v => zoomTo(v, zoomTimes(v) * 1.5),
  '-': v => zoomTo(v, zoomTimes(v) / 1.5),
  '0': v => zoomTo(v, 1),
  c: nextAlone,
  g: v => v.item.truth ? flip(v, 'mode', 'g') : say(v, 'no ground truth for this image'),
  d: compare,
  m: v => enlargePanel(v, v.over),
  o: v => change(v, 'safe', !v.model.get('safe')),
  r: reset,
  '?': help,
  Escape: escape,
}

// Acts on a key; false if the key has no meaning here
export function press(v, key, held) {
  if (v.tool?.key(key, held)) return true
  if (/^[1-9]$/.test(key)) digit(v, v.panels[key - 1])
  else if (Object.hasOwn(KEYS, key)) KEYS[key](v)
  else if (key === 'f' || key.startsWith('Arrow')) askKernel(v, key)
  else return false
  return true
}

// An editor may have changed the labels, here and for the key c
function compare(v) {
  comparePanels(v)
  if (v.pair) flip(v, 'mode', 'd')
  else say(v, 'a comparison needs two label panels')
}

function flip(v, name, value) {
  v[name] = v[name] === value ? '' : value
  redraw(v)
}

function help(v) {
  v.ui.help.hidden = !v.ui.help.hidden
  redraw(v)
}

// A layer on or off; while one panel is large, a panel more or less
function digit(v, p) {
  if (!p) return
  if (v.only) showOnly(v, v.panels.filter(o => o.hidden === (o === p)).map(o => o.title))
  else p.off = !p.off
  redraw(v)
}

// One panel alone, or all of them again
export function enlargePanel(v, p) {
  showOnly(v, v.only ? null : [(p || v.panels[0]).title])
  redraw(v)
}

// Everything as it was when the viewer was made
function reset(v) {
  Object.assign(v, {blink: '', mode: ''})
  for (const p of v.panels) p.off = false
  for (const [name, value] of Object.entries(v.model.get('_start'))) v.model.set(name, value)
  v.model.save_changes()
  showOnly(v, null)
  redraw(v)
}

// One thing after the other, the focus last
export function escape(v) {
  if (v.model.get('cell')) change(v, 'cell', null)
  else if (zoomTimes(v) > 1) zoomTo(v, 1)
  else if (v.only) enlargePanel(v)
  else v.el.getRootNode().activeElement?.blur()
}

export function stepThreshold(v, hundredths) {
  change(v, 'threshold', clamp(Math.round(100 * v.model.get('threshold') + hundredths) / 100))
}

export function zoomTo(v, times, at) {
  change(v, 'zoom', zoomed(v.model.get('zoom'), times, v.item, v.W, v.H, v.geo, at))
}

// After the last class that appears, all are shown again
function nextAlone(v) {
  countPanels(v)
  const there = v.names.map((_, k) => k).filter(k => v.present[k])
  const shown = v.model.get('classes')
  const only = shown.filter(on => on).length === 1 ? shown.indexOf(true) : -1
  alone(v, there.find(k => k > only))
}

function askKernel(v, key) {
  v.asked = performance.now()
  v.model.send({key})
}
