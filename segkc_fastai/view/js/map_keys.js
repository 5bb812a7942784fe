// What the colours of a map mean: a class or a part with its number of images, or a scale with its ends
import {el, u8} from './dom.js'

const cssColour = c => `rgb(${c.join(',')})`

// How many images have each value
export function countValues(values) {
  const res = new Array(256).fill(0)
  for (const v of values) res[v]++
  return res
}

// A click selects the images of a colour, with shift in addition to the others
export function colourKeys(m, layer) {
  if (m.keyed === layer.title) return
  m.keyed = layer.title
  m.keys.replaceChildren()
  const values = u8(layer.values)
  if (layer.kind === 'share') scaleEnds(m, layer)
  else layer.names.forEach((name, k) => keyButton(m, layer, values, name, k))
  keyButton(m, layer, values, layer.without, 255)
}

function indicesOf(values, value) {
  const res = []
  values.forEach((v, i) => v === value && res.push(i))
  return res
}

// Left out if no image has the value
function keyButton(m, layer, values, name, value) {
  const n = countValues(values)[value]
  if (!n) return
  const button = Object.assign(el(m.keys, 'button'), {title: 'select these images'})
  el(button, 'i').style.background = cssColour(layer.colours[value])
  button.append(`${name} ${n}`)
  button.onclick = ev => m.pick([...ev.shiftKey ? m.chosen : [], ...indicesOf(values, value)])
}

function scaleEnds(m, layer) {
  const box = el(m.keys, 'span', 'ends')
  el(box, 'span', '', `${layer.low.toFixed(1)} %`)
  const stops = [0, 51, 102, 153, 204, 254].map(k => cssColour(layer.colours[k]))
  el(box, 'i').style.background = `linear-gradient(to right, ${stops.join(', ')})`
  el(box, 'span', '', `${layer.high.toFixed(1)} % ${layer.of}`)
}
