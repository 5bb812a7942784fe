import assert from 'node:assert/strict'
import test from 'node:test'
import {polygonRuns, regionRuns, strokeRuns, whereRuns} from '../../segkc_fastai/view/js/runs.js'

const SIZE = {w: 40, h: 30}

function pixels(runs, {w} = SIZE) {
  const all = []
  for (let k = 0; k < runs.length; k += 2) for (let i = runs[k]; i < runs[k] + runs[k + 1]; i++) all.push(i)
  return new Set(all.map(i => `${i % w},${Math.floor(i / w)}`))
}

// Distance of a point to the line from a to b
function distance([x, y], [ax, ay], [bx, by]) {
  const d2 = (bx - ax) ** 2 + (by - ay) ** 2
  const t = d2 ? Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / d2)) : 0
  return Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay))
}

test('a stroke holds the pixels within its radius, and no others', () => {
  const level = [[[5, 5], [5, 5]], [[5, 5], [20, 5]], [[8, 3], [8, 20]]]
  const lines = [...level, [[3, 4], [30, 21]], [[30, 4], [3, 21]], [[-4, 10], [50, 12]]]
  for (const [a, b] of lines) {
    for (const r of [.5, 1.5, 4, 7.5]) {
      const found = pixels(strokeRuns(SIZE, a, b, r))
      for (let i = 0; i < SIZE.w * SIZE.h; i++) {
        const [x, y] = [i % SIZE.w, Math.floor(i / SIZE.w)]
        const d = distance([x, y], a, b)
        const what = `${x},${y} from ${a} to ${b}, radius ${r}`
        if (Math.abs(d - r) > 1e-4) assert.equal(found.has(`${x},${y}`), d < r, what)
      }
    }
  }
})

test('a brush of one pixel draws one pixel, and diagonal lines have no gaps', () => {
  assert.deepEqual([...pixels(strokeRuns(SIZE, [7, 9], [7, 9], .5))], ['7,9'])
  const rows = new Set([...pixels(strokeRuns(SIZE, [3, 3], [12, 25], .5))].map(o => o.split(',')[1]))
  assert.equal(rows.size, 23)
})

test('a polygon holds the pixels whose centres it contains', () => {
  const box = [[2, 3], [5, 3], [5, 5], [2, 5]]
  assert.deepEqual([...pixels(polygonRuns(SIZE, box))], ['2,3', '3,3', '4,3', '2,4', '3,4', '4,4'])
  assert.deepEqual(polygonRuns(SIZE, [[2.6, 3.6], [3.4, 3.6], [3.4, 4.4]]), [])
  const star = [0, 2, 4, 1, 3].map(i => [15 + 12 * Math.sin(i * 1.2566), 15 - 12 * Math.cos(i * 1.2566)])
  assert.equal(pixels(polygonRuns(SIZE, star)).has('15,15'), false, 'even and odd: the middle of a star is outside')
  assert.equal(pixels(polygonRuns(SIZE, [[-9, -9], [99, -9], [99, 99], [-9, 99]])).size, 40 * 30, 'cut at the edges')
})

test('a region is connected by edges, not by corners', () => {
  const map = [
    1, 1, 0, 1,
    0, 1, 0, 1,
    1, 0, 1, 1,
  ]
  const region = at => [...pixels(regionRuns({w: 4, h: 3}, i => map[i] === 1, at), {w: 4})].sort()
  assert.deepEqual(region([0, 0]), ['0,0', '1,0', '1,1'])
  assert.deepEqual(region([3, 0]), ['2,2', '3,0', '3,1', '3,2'])
  assert.deepEqual(region([0, 2]), ['0,2'])
})

test('runs of a test', () => {
  assert.deepEqual(whereRuns(6, i => [1, 0, 1, 1, 0, 1][i]), [0, 1, 2, 2, 5, 1])
  assert.deepEqual(whereRuns(2, () => false), [])
})
