// Keys work while the viewer has the focus, and go no further
import {redraw} from './draw.js'
import {clamp, zoomed} from './geometry.js'
import {alone, change, say} from './traits.js'

export const HELP = [
  '← → image', '↑ ↓ epoch', '1–9 layer on/off', 'space blink with the image', 'c next class alone', 'g ground truth',
  'd who is right', '+ − 0 zoom', '[ ] confidence', 'f save figure', 'hold shift numbers of all images', '? this list',
].join(' · ')

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
  d: v => v.pair ? flip(v, 'mode', 'd') : say(v, 'who is right needs two label panels'),
  '?': v => v.ui.help.hidden = !v.ui.help.hidden,
  Escape: v => v.el.blur(),
}

// Acts on a key; false if the key has no meaning here
export function press(v, key) {
  if (v.tool?.key(key)) return true
  if (/^[1-9]$/.test(key)) flipLayer(v, v.panels[key - 1])
  else if (Object.hasOwn(KEYS, key)) KEYS[key](v)
  else if (key === 'f' || key.startsWith('Arrow')) askKernel(v, key)
  else return false
  return true
}

function flip(v, name, value) {
  v[name] = v[name] === value ? '' : value
  redraw(v)
}

function flipLayer(v, p) {
  if (!p) return
  p.off = !p.off
  redraw(v)
}

export function stepThreshold(v, hundredths) {
  change(v, 'threshold', clamp(Math.round(100 * v.model.get('threshold') + hundredths) / 100))
}

export function zoomTo(v, times, at) {
  change(v, 'zoom', zoomed(v.model.get('zoom'), times, v.item, v.W, v.H, v.geo, at))
}

// After the last class that appears, all are shown again
function nextAlone(v) {
  const there = v.names.map((_, k) => k).filter(k => v.present[k])
  const shown = v.model.get('classes')
  const only = shown.filter(on => on).length === 1 ? shown.indexOf(true) : -1
  alone(v, there.find(k => k > only))
}

function askKernel(v, key) {
  v.asked = performance.now()
  v.model.send({key})
}
