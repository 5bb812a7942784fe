import assert from 'node:assert/strict'
import test from 'node:test'
import {matrixKeys, stepCell} from '../../segkc_fastai/view/js/matrix_keys.js'

test('a step to a neighbour, in the order of the matrix and not beyond it', () => {
  const order = [2, 0, 1]
  assert.deepEqual(stepCell(order, null, [0, 1]), [2, 2])
  assert.deepEqual(stepCell(order, [2, 0], [1, 0]), [0, 0])
  assert.deepEqual([stepCell(order, [2, 1], [0, 1]), stepCell(order, [2, 1], [-1, 0])], [[2, 1], [2, 1]])
  assert.deepEqual(stepCell(order, [7, 1], [0, 1]), [2, 2])
})

test('arrow keys point, Enter chooses, other keys are left to the viewer', () => {
  const [said, chosen, canvas] = [[], [], {}]
  const v = {cross: {order: [2, 0, 1]}, el: {focus: () => said.push('focus')}}
  matrixKeys(v, canvas, cell => said.push(cell?.join('')), cell => chosen.push(cell.join('')))
  const press = (key, more) => {
    let kept = false
    canvas.onkeydown({key, preventDefault: () => kept = true, stopPropagation() {}, ...more})
    return kept
  }
  assert.deepEqual([press('Enter'), press('ArrowRight'), press('ArrowRight'), press('Enter')], Array(4).fill(true))
  assert.deepEqual([press('o'), press('ArrowLeft', {altKey: true})], [false, false])
  canvas.onblur()
  canvas.onmousedown({preventDefault() {}})
  assert.deepEqual([said, chosen, v.pointed], [['22', '20', undefined, 'focus'], ['20'], null])
  v.cross = null
  assert.ok(!press('ArrowDown'))
})
