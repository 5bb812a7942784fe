// The visible part of an image, at the size of the screen
import {u8} from './dom.js'
import {geometry, pixelsUnder} from './geometry.js'
import {grey} from './pixels.js'

export async function decode(bytes) {
  const bitmap = await createImageBitmap(new Blob([u8(bytes)]))
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
  const g = canvas.getContext('2d', {willReadFrequently: true})
  g.drawImage(bitmap, 0, 0)
  bitmap.close()
  return {canvas, pixels: new Uint32Array(g.getImageData(0, 0, canvas.width, canvas.height).data.buffer)}
}

// Recomputed only when something moved
export function visible(v) {
  const {item, W, H} = v
  v.geo = geometry(item, W, H, v.model.get('zoom'))
  const seen = [W, H, v.geo.s, v.geo.ox, v.geo.oy, v.generation].join()
  if (seen === v.seen) return
  v.seen = seen
  makeRoom(v, W * H)
  pixelsUnder(v.idx, item, W, H, v.geo)
  v.base = beneath(v, v.image, v.base)
  v.grey = grey(v.base)
  for (const p of v.panels) if (p.own) p.base = beneath(v, p.own, p.base)
}

function makeRoom(v, n) {
  if (v.idx?.length === n) return
  v.idx = new Int32Array(n)
  v.val = new Uint16Array(n)
  v.hit = new Uint8Array(n)
}

// A smaller photograph is smoothed; an enlarged one shows its pixels, in step with the masks
function beneath(v, image, before) {
  if (v.geo.s < 1) return smoothed(v, image)
  const into = before?.length === v.idx.length ? before : new Uint32Array(v.idx.length)
  for (let k = 0; k < into.length; k++) into[k] = image.pixels[v.idx[k]]
  return into
}

function smoothed({scratch, geo, item, W, H}, image) {
  Object.assign(scratch, {width: W, height: H})
  const g = scratch.getContext('2d', {willReadFrequently: true})
  g.imageSmoothingQuality = 'high'
  g.drawImage(image.canvas, -geo.ox * geo.s, -geo.oy * geo.s, item.w * geo.s, item.h * geo.s)
  return new Uint32Array(g.getImageData(0, 0, W, H).data.buffer)
}
