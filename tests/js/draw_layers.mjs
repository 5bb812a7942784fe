// Paints panels as the viewer does, for `test_python_draws_as_the_browser`: JSON in, JSON out
import {readFileSync} from 'node:fs'
import {byteThreshold, fiveParts} from '../../segkc_fastai/view/js/counts.js'
import {findCell, paint} from '../../segkc_fastai/view/js/draw.js'
import {palette, tables, unpacked} from '../../segkc_fastai/view/js/look.js'
import {pack} from '../../segkc_fastai/view/js/pixels.js'
import {visible} from '../../segkc_fastai/view/js/visible.js'

const {traits, image, item, panels} = JSON.parse(readFileSync(0, 'utf8'))
const bytes = list => Uint8Array.from(list)
const table = ({colours, weights}) => ({colours: bytes(colours), weights})
const {ramps, parts, disputes} = traits._tables
const look = {...traits._tables, parts: table(parts), disputes: table(disputes)}
look.ramps = {confidence: bytes(ramps.confidence), entropy: bytes(ramps.entropy)}
traits._palettes = traits._palettes.map(bytes)

const [W, H] = [item.w, item.h]
const v = {W, H, sharp: 1, item, panels, look: unpacked(look), model: {get: name => traits[name]}, generation: 1}
v.image = {pixels: Uint32Array.from(image, rgb => pack(...rgb))}
v.byTitle = new Map(panels.map(p => [p.title, p]))
v.parts = new Map()
for (const p of panels.filter(o => o.kind === 'disagreement')) {
  const [a, b] = p.of.map(title => v.byTitle.get(title))
  v.parts.set(p.of.join('\n'), {...fiveParts(a, b, item.truth, look.ignore), a, b})
}

palette(v)
visible(v)
const t = byteThreshold(traits.threshold)
const hit = findCell(v, traits.cell, t)
for (const p of panels) {
  p.out = new Uint32Array(W * H)
  paint(v, p, tables(v), t, hit)
}
process.stdout.write(JSON.stringify(panels.map(p => [...new Uint8Array(p.out.buffer)])))
