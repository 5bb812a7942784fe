// The visible part of an image, at the size of the screen
import {u8} from './dom.js'
import {geometry, pixelsUnder} from './geometry.js'
import {shownPanels} from './panels.js'
import {patterns} from './pattern.js'
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
  const seen = [W, H, v.geo.s, v.geo.ox, v.geo.oy, v.generation, v.only].join()
  if (seen === v.seen) return
  v.seen = seen
  makeRoom(v, W, H)
  pixelsUnder(v.idx, item, W, H, v.geo)
  v.base = beneath(v, v.image, v.base)
  v.grey = grey(v.base)
  for (const p of shownPanels(v)) if (p.own) p.base = beneath(v, p.own, p.base)
}

function makeRoom(v, W, H) {
  const size = [W, H, v.sharp].join()
  if (v.room === size) return
  v.room = size
  v.idx = new Int32Array(W * H)
  v.val = new Uint16Array(W * H)
  v.hit = new Uint8Array(W * H)
  v.grain = patterns(W, H, v.sharp)
}

// A photograph is smoothed, whether made smaller or larger; masks never are
function beneath(v, image, before) {
  if (v.geo.s < 1) return reduced(v, image)
  const into = before?.length === v.idx.length ? before : new Uint32Array(v.idx.length)
  enlarge(into, image.pixels, v)
  return into
}

function reduced({scratch, geo, item, W, H}, image) {
  Object.assign(scratch, {width: W, height: H})
  const g = scratch.getContext('2d', {willReadFrequently: true})
  g.imageSmoothingQuality = 'high'
  g.drawImage(image.canvas, -geo.ox * geo.s, -geo.oy * geo.s, item.w * geo.s, item.h * geo.s)
  return new Uint32Array(g.getImageData(0, 0, W, H).data.buffer)
}

// For each of n pixels of the screen: the pixel of the image before its centre, the one after, and the weight of that
function between(n, o, s, size) {
  const [from, to, weight] = [0, 1, 2].map(() => new Int32Array(n))
  for (let k = 0; k < n; k++) {
    const at = o + (k + .5) / s - .5
    const low = Math.floor(at)
    from[k] = Math.max(0, Math.min(size - 1, low))
    to[k] = Math.max(0, Math.min(size - 1, low + 1))
    weight[k] = Math.floor(256 * (at - low) + .5)
  }
  return {from, to, weight}
}

// Two colours, the second with weight t of 256
function mix(a, b, t) {
  const redBlue = Math.imul(a & 0xff00ff, 256 - t) + Math.imul(b & 0xff00ff, t)
  const green = Math.imul(a & 0xff00, 256 - t) + Math.imul(b & 0xff00, t)
  return redBlue >>> 8 & 0xff00ff | green >>> 8 & 0xff00
}

// Bilinear; `view.palette.enlarged` computes the same pixels in Python
function enlarge(into, pixels, {item: {w, h}, W, H, geo: {s, ox, oy}}) {
  const {from, to, weight} = between(W, ox, s, w)
  const ys = between(H, oy, s, h)
  for (let y = 0; y < H; y++) {
    const [above, below, t] = [ys.from[y] * w, ys.to[y] * w, ys.weight[y]]
    for (let x = 0; x < W; x++) {
      const [a, b, u] = [from[x], to[x], weight[x]]
      const upper = mix(pixels[above + a], pixels[above + b], u)
      const lower = mix(pixels[below + a], pixels[below + b], u)
      into[y * W + x] = 0xff000000 | mix(upper, lower, t)
    }
  }
}
