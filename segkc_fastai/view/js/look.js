// Colours and weights, as Python sends them
import {labelTable, partsTable, rampTable} from './blend.js'
import {colours} from './pixels.js'

const both = ({colours: bytes, weights}) => ({colours: colours(bytes), weights})

export function unpacked(look) {
  const ramps = Object.fromEntries(Object.entries(look.ramps).map(([kind, bytes]) => [kind, colours(bytes)]))
  return {...look, ramps, parts: both(look.parts), disputes: both(look.disputes)}
}

// The colours of the classes, and which classes are shown
export function palette(v) {
  const shown = v.model.get('classes')
  v.palette = new Uint32Array(256)
  v.palette.set(colours(v.model.get('_palettes')[+v.model.get('safe')]))
  v.on = new Uint8Array(256)
  v.on.set(shown)
  v.all = shown.every(on => on)
}

export const partsLook = v => v.item.truth ? v.look.parts : v.look.disputes

export function tables(v) {
  const opacity = v.model.get('opacity')
  const {ramps, faded, loudness} = v.look
  return {
    label: labelTable(v.palette, v.on, opacity, faded),
    parts: partsTable(partsLook(v), opacity, loudness, faded),
    confidence: rampTable(ramps.confidence),
    entropy: rampTable(ramps.entropy),
  }
}
