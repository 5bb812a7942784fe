// Colours of pixels as canvases hold them: little endian RGBA in one number
import {u8} from './dom.js'

export const pack = (r, g, b) => (r | g << 8 | b << 16 | 0xff000000) >>> 0

export const css = c => `rgb(${c & 255},${c >> 8 & 255},${c >> 16 & 255})`

// The colours of bytes in the order r, g, b
export function colours(data) {
  const c = u8(data)
  return Uint32Array.from({length: c.length / 3}, (_, i) => pack(c[3 * i], c[3 * i + 1], c[3 * i + 2]))
}

export const grey = base => base.map(b => {
  const y = (77 * (b & 255) + 151 * (b >> 8 & 255) + 28 * (b >> 16 & 255)) >> 8
  return pack(y, y, y)
})
