// Mixing the colours of small numbers over an image; `view.palette` computes the same pixels in Python
import {pack} from './pixels.js'

// For each value: its colour times its weight, red and blue in one number, and the weight of the image beneath
export function table(n, colour, weight) {
  const rb = new Uint32Array(n)
  const g = new Uint32Array(n)
  const rest = new Uint32Array(n)
  for (let i = 0; i < n; i++) {
    const share = Math.round(256 * weight(i))
    rb[i] = Math.imul(colour(i) & 0xff00ff, share)
    g[i] = Math.imul(colour(i) & 0xff00, share)
    rest[i] = 256 - share
  }
  return {rb, g, rest}
}

// Values from 256 on are classes below the threshold
export function labelTable(palette, on, opacity, faded) {
  return table(512, i => palette[i & 255], i => on[i & 255] ? opacity * (i < 256 ? 1 : faded) : 0)
}

// From 256 on pixels below the threshold, from 512 on those of the pattern, whose colours follow the 256 of the parts
export function partsTable({colours, weights}, opacity, loudness, faded) {
  const loud = Math.min(1, opacity * loudness)
  return table(1024, i => colours[i & 255 | i >> 1 & 256], i => weights[i & 255] * loud * (i & 256 ? faded : 1))
}

export const rampTable = ramp => table(256, i => ramp[i], () => 1)

export function blend(out, base, values, {rb, g, rest}) {
  for (let k = 0; k < out.length; k++) {
    const b = base[k]
    const i = values[k]
    const redBlue = Math.imul(b & 0xff00ff, rest[i]) + rb[i]
    const green = Math.imul(b & 0xff00, rest[i]) + g[i]
    out[k] = 0xff000000 | redBlue >>> 8 & 0xff00ff | green >>> 8 & 0xff00
  }
}

const WHITE = pack(255, 255, 255)

// White just inside the border of the hit pixels; all others are darkened
export function outline(out, hit, W) {
  for (let k = 0; k < out.length; k++) {
    if (!hit[k]) out[k] = 0xff000000 | (out[k] & 0xfcfcfc) >>> 2
    else if (onBorder(hit, k, W)) out[k] = WHITE
  }
}

// The edge of the picture is not a border
function onBorder(hit, k, W) {
  const x = k % W
  return (x > 0 && !hit[k - 1]) || (x + 1 < W && !hit[k + 1]) || hit[k - W] === 0 || hit[k + W] === 0
}
