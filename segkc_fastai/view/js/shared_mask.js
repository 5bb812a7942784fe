// The mask of an editor. All views of a page edit the same one, and other pages tell what they changed
import {u8} from './dom.js'
import {applyTriples, boxOf, newHistory} from './edits.js'
import {drawBox} from './mask_draw.js'

export const PAGE = Math.random().toString(36).slice(2)

const masks = new WeakMap() // model → its mask

export function hearEdits(model) {
  const hear = (msg, buffers) => {
    const mask = masks.get(model)
    if (!mask || !msg.edit || msg.edit === PAGE || msg.of !== mask.of) return
    spread(mask, applyTriples(mask.label, new Int32Array(u8(buffers[0]).slice().buffer)))
  }
  model.on('msg:custom', hear)
  return () => model.off('msg:custom', hear)
}

// Draws what changed in all views
export function spread(mask, triples) {
  const box = boxOf(triples, mask.w)
  for (const t of mask.views) if (t.panel && t.v.geo) drawBox(t.v, t.panel, box)
}

// The mask of the image on display; it starts with the label that the kernel sent
export function maskOf(model, {draft, w, seconds = 0}, label) {
  const old = masks.get(model)
  if (old?.of === draft) return old
  const views = old?.views || new Set()
  const mask = {of: draft, w, label: label.slice(), history: newHistory(), seconds, views}
  masks.set(model, mask)
  return mask
}
