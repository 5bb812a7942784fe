import assert from 'node:assert/strict'
import test from 'node:test'
import {
  clamp, dragged, geometry, panelSize, pixelAt, pixelsUnder, zoomed,
} from '../../segkc_fastai/view/js/geometry.js'

const IMAGE = {w: 40, h: 20}
const WHOLE = [1, .5, .5]

test('clamp', () => assert.deepEqual([-1, .4, 2].map(x => clamp(x)), [0, .4, 1]))

test('the whole image fills a panel', () => {
  assert.deepEqual(geometry(IMAGE, 80, 40, WHOLE), {s: 2, ox: 0, oy: 0})
})

test('zoomed, the view stays inside the image', () => {
  assert.deepEqual(geometry(IMAGE, 80, 40, [2, .5, .5]), {s: 4, ox: 10, oy: 5})
  assert.deepEqual(geometry(IMAGE, 80, 40, [2, 1, 0]), {s: 4, ox: 20, oy: 0})
})

test('the pixel of the image under each pixel of the screen', () => {
  const idx = new Int32Array(8)
  pixelsUnder(idx, {w: 2, h: 2}, 4, 2, {s: 2, ox: 0, oy: 0})
  assert.deepEqual([...idx], [0, 0, 1, 1, 0, 0, 1, 1])
  pixelsUnder(idx, {w: 4, h: 2}, 4, 2, {s: 2, ox: 2, oy: 1})
  assert.deepEqual([...idx], [6, 6, 7, 7, 6, 6, 7, 7])
})

test('the pixel under a point, also at the very edge', () => {
  const geo = geometry(IMAGE, 80, 40, WHOLE)
  assert.deepEqual(pixelAt(IMAGE, 80, 40, geo, .5, .25), {x: 20, y: 5})
  assert.deepEqual(pixelAt(IMAGE, 80, 40, geo, 1, 1), {x: 39, y: 19})
})

test('the pixel under the hand stays there when zooming', () => {
  for (const [fx, fy] of [[.5, .5], [.3, .6], [.45, .2]]) {
    const before = geometry(IMAGE, 800, 400, [2, .5, .5])
    const at = [before.ox + fx * 800 / before.s, before.oy + fy * 400 / before.s]
    const after = geometry(IMAGE, 800, 400, zoomed([2, .5, .5], 4, IMAGE, 800, 400, before, at))
    assert.ok(Math.abs((at[0] - after.ox) * after.s - fx * 800) < 1e-9)
    assert.ok(Math.abs((at[1] - after.oy) * after.s - fy * 400) < 1e-9)
  }
})

test('the centre of a zoom is that of the view, so that a drag moves at once', () => {
  const geo = geometry(IMAGE, 80, 40, [4, .125, .5])
  const out = zoomed([4, .125, .5], 2, IMAGE, 80, 40, geo, [9.5, 10])
  assert.deepEqual(out, [2, .25, .5])
  assert.equal(geometry(IMAGE, 80, 40, dragged(out, -.1, 0)).ox, 2)
})

test('zoom has ends, and the lower one is the whole image', () => {
  const geo = geometry(IMAGE, 80, 40, [2, .2, .2])
  assert.deepEqual(zoomed([2, .2, .2], .5, IMAGE, 80, 40, geo), WHOLE)
  assert.equal(zoomed([2, .2, .2], 100, IMAGE, 80, 40, geo)[0], 8)
  assert.equal(zoomed(WHOLE, 100, {w: 4000, h: 2000}, 80, 40, geo)[0], 100)
})

test('dragging moves the centre, not beyond the image', () => {
  assert.deepEqual(dragged([2, .5, .5], .2, -.1), [2, .4, .55])
  assert.deepEqual(dragged([2, .5, .5], 1, -1), [2, .25, .75])
})

test('a height that is given is kept, in as many columns as fit', () => {
  const of = (n, want, room, ratio = 1) => panelSize(IMAGE, n, want, {room, height: 9}, ratio)
  assert.deepEqual(of(2, 150, 1000), {width: 300, height: 150, columns: 2, W: 300, H: 150})
  assert.deepEqual([of(4, 150, 1000).width, of(4, 150, 1000).columns], [300, 3])
  assert.deepEqual(of(4, 150, 208), {width: 200, height: 100, columns: 1, W: 200, H: 100})
  assert.deepEqual(of(1, 150, 1000, 2), {width: 300, height: 150, columns: 1, W: 600, H: 300})
})

test('otherwise panels are as large as two rows of the window allow', () => {
  const of = (n, room, height, image = {w: 320, h: 240}) => panelSize(image, n, null, {room, height}, 1)
  assert.deepEqual([of(4, 960, 652).width, of(4, 960, 652).columns], [400, 2])
  assert.equal(of(4, 960, 652).height, 300)
  assert.deepEqual([of(4, 960, 652, {w: 2048, h: 1024}).width, of(4, 960, 652, {w: 2048, h: 1024}).columns], [472, 2])
  assert.equal(of(1, 2000, 626).height, 600)
  assert.deepEqual([of(11, 840, 652).width, of(11, 840, 652).columns], [200, 4])
})

test('a narrow image has a panel that a canvas can have', () => {
  for (const want of [null, 300]) {
    const {width, height} = panelSize({w: 1, h: 2000}, 4, want, {room: 1200, height: 800}, 1)
    assert.deepEqual([width, height], [4, 8000])
  }
  assert.equal(panelSize({w: 1, h: 9000}, 1, null, {room: 1200, height: 800}, 1).height, 8000)
})

test('panels never shrink when the room grows', () => {
  for (let n = 1; n < 12; n++) {
    let before = 0
    for (let room = 60; room < 2000; room += 7) {
      const {width, columns} = panelSize({w: 320, h: 240}, n, null, {room, height: 650}, 1)
      assert.ok(width >= before && (columns * (width + 8) <= room || width === 40), `${n} panels in ${room}`)
      before = width
    }
  }
})

test('beyond two million pixels a sharp screen is not worth the wait', () => {
  assert.equal(panelSize({w: 1, h: 1}, 4, 512, {room: 5000}, 2).W, 512)
  assert.equal(panelSize({w: 1, h: 1}, 1, 512, {room: 5000}, 2).W, 1024)
})
