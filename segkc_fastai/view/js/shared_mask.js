// The mask of an editor. All views of a page edit the same one, and other pages report what they changed
import {lookUp} from './arrive.js'
import {comparePanels, recountLater} from './counted.js'
import {u8} from './dom.js'
import {redraw} from './draw.js'
import {applyTriples, boxOf, newHistory} from './edits.js'
import {drawBox} from './mask_draw.js'

export const PAGE = Math.random().toString(36).slice(2)

const masks = new Map() // by the identity that the kernel gives to a mask under work

export function hearEdits(model) {
  const hear = (msg, buffers) => {
    if (msg.edit) edited(msg, new Int32Array(u8(buffers[0]).slice().buffer))
    if (msg.stays && masks.has(msg.stays)) masks.get(msg.stays).left = false
  }
  model.on('msg:custom', hear)
  return () => model.off('msg:custom', hear)
}

// A mask that no view has yet will start with the map that the page holds
function edited(msg, triples) {
  const mask = masks.get(msg.of)
  if (mask) return inOrder(mask, msg, triples)
  const label = lookUp(`m${msg.of}`)
  if (!label) return
  applyTriples(label, triples)
  recountLater(label)
}

// The kernel applied or refused an edit. Those of this page that it has not answered come later, and so they do here
function inOrder(mask, {edit, refused}, triples) {
  if (edit === PAGE) mask.sent.shift()
  if (edit === PAGE && !refused) return
  applyTriples(mask.label, triples)
  for (const o of mask.sent) applyTriples(mask.label, o)
  for (const t of mask.views) applyTriples(mask.label, t.unsent)
  spread(mask, triples)
}

// Draws what changed in all views
export function spread(mask, triples) {
  recountLater(mask.label)
  const box = boxOf(triples, mask.w)
  for (const t of mask.views) if (t.panel && t.v.geo) drawBox(t.v, t.panel, box)
  clearTimeout(mask.comparing)
  mask.comparing = setTimeout(() => mask.views.forEach(t => compareAgain(t.v)), 100)
}

// A comparison reads whole maps, so it follows a stroke when the pen rests
function compareAgain(v) {
  if (v.mode !== 'd') return
  comparePanels(v)
  redraw(v)
}

// The mask that editor `t` works on from now on; it starts with the label that the kernel sent
export function maskOf(t, {draft, w, seconds = 0}, label) {
  if (t.mask && t.mask.of !== draft) masks.delete(t.mask.of)
  const fresh = () => ({of: draft, w, label, history: newHistory(), seconds, views: new Set(), sent: [], left: false})
  if (!masks.has(draft)) masks.set(draft, fresh())
  return masks.get(draft)
}
