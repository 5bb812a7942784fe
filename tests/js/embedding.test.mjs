import assert from 'node:assert/strict'
import test from 'node:test'
import {wheelOver} from '../../segkc_fastai/view/js/embedding.js'

test('the wheel zooms a map that has the focus, and scrolls the page past others', () => {
  const zoomed = focus => {
    const root = {contains: e => e === 'map', getRootNode: () => ({activeElement: focus})}
    const rect = {left: 0, top: 0}
    const canvas = {width: 100, height: 50, getBoundingClientRect: () => rect}
    const m = {root, canvas, ratio: 1, view: [1, .5, .5], extent: [1, 1], draw() {}}
    let kept = false
    wheelOver(m, {deltaY: -1, clientX: 50, clientY: 25, preventDefault: () => kept = true})
    return [kept, m.view[0]]
  }
  assert.deepEqual([zoomed('a cell'), zoomed('map')], [[false, 1], [true, 1.25]])
})
