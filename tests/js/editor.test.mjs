import assert from 'node:assert/strict'
import test from 'node:test'
import {Editor} from '../../segkc_fastai/view/js/editor.js'

const element = () => ({
  textContent: '', dataset: {}, classList: {toggle() {}}, style: {setProperty() {}}, setAttribute() {},
})

const openMask = () => ({label: new Uint8Array(8).fill(255), canvas: {parentNode: 1}})

let drafts = 0

// An editor of masks with one row of 8 open pixels and a brush of one pixel, in focus, without a page
function fakeEditor() {
  globalThis.document = {visibilityState: 'visible'}
  const sent = []
  const send = (msg, _, buffers) => sent.push(buffers ? {...msg, runs: [...new Int32Array(buffers[0])]} : msg)
  const root = Object.assign(element(), {contains: () => true, getRootNode: () => ({activeElement: 1})})
  const v = {
    K: 3, names: ['a', 'b', 'c'], palette: [1, 2, 3], look: {ignore: 255}, panels: [], el: root, byTitle: new Map(),
    model: {get: () => ({}), send}, ui: {line: element(), classes: []},
  }
  const size = Object.assign(element(), {say: element()})
  const ui = {tools: {}, size}
  for (const name of ['region', 'ignore', 'clock', 'said', 'state']) ui[name] = element()
  const t = Object.create(Editor.prototype)
  Object.assign(t, {v, ui, tool: 'brush', size: 1, chosen: 0, ignore: 255, marks: {parentNode: 1}}, t.nothing())
  t.mark = () => {}
  const show = draft => {
    v.item = {w: 8, h: 1, draft}
    v.byTitle.set('mask', openMask())
    t.begin()
  }
  show(drafts++)
  const press = x => t.drawing = t.stroke([x + .5, .5])
  const release = () => t.up({type: 'pointerup'})
  const stroke = x => {
    press(x)
    release()
  }
  const wait = seconds => {
    for (let i = 0; i < seconds; i++) t.second()
  }
  const saves = () => sent.filter(msg => msg.save)
  return {t, v, sent, show, press, release, stroke, wait, saves}
}

test('an image that was only looked at is not saved, and an edit is after 30 seconds', () => {
  const {t, show, stroke, wait, saves} = fakeEditor()
  wait(5)
  stroke(1)
  show(drafts++)
  wait(60)
  assert.deepEqual(saves(), [])
  wait(600)
  stroke(1)
  t.save('now')
  show(drafts++)
  stroke(2)
  wait(29)
  assert.equal(saves().length, 1)
  wait(1)
  const {save, seconds} = saves()[1]
  assert.deepEqual([save, seconds], ['auto', 30])
})

test('a stroke in progress ends where another image or other panels arrive, and is sent for its mask', () => {
  const {t, v, sent, show, press, release} = fakeEditor()
  const {of} = t.mask
  press(1)
  show(of)
  release()
  assert.deepEqual([t.mask.label[1], t.mask.history.done.length, sent.at(-1).runs], [0, 1, [0, 1, 1]])
  t.press = [v.panels, 0, 0]
  press(2)
  show(drafts++)
  t.move({}, t.panel)
  release()
  assert.deepEqual([...t.mask.label], Array(8).fill(255))
  assert.deepEqual([sent.length, sent.at(-1).of, sent.at(-1).runs, t.press], [2, of, [0, 2, 1], undefined])
})

test('corners of a polygon stay where other panels arrive for the same mask', () => {
  const {t, show} = fakeEditor()
  t.points = [[1, 1], [2, 2]]
  show(t.mask.of)
  assert.equal(t.points.length, 2)
  show(drafts++)
  assert.deepEqual(t.points, [])
})

test('undo in a stroke takes back that stroke, whatever classes it painted', () => {
  const {t, press, release, stroke} = fakeEditor()
  stroke(1)
  t.choose(1)
  press(1)
  t.choose(2)
  t.stroke([1.5, .5])
  t.key('z')
  assert.equal(t.mask.label[1], 0)
  release()
  t.key('z')
  assert.deepEqual([t.mask.label[1], t.mask.history.done.length, t.mask.history.undone.length], [255, 0, 2])
})

test('an arrow key that is held makes one step until the next image is there', () => {
  const {t, sent, show} = fakeEditor()
  const steps = () => sent.splice(0).map(({key, of}) => [key, of])
  const {of} = t.mask
  for (let i = 0; i < 4; i++) t.key('ArrowRight', i > 0)
  assert.deepEqual(steps(), [['ArrowRight', of]])
  show(drafts++)
  t.key('ArrowRight', true)
  t.mask.left = false // the kernel says that this one stays
  t.key('ArrowLeft')
  assert.deepEqual(steps(), [['ArrowRight', t.mask.of], ['ArrowLeft', t.mask.of]])
})

test('a lasso that the browser cancels fills nothing', () => {
  const {t} = fakeEditor()
  const square = [[0, 0], [4, 0], [4, 1], [0, 1]]
  const lasso = type => {
    Object.assign(t, {tool: 'lasso', drawing: true, points: [...square]})
    t.up({type})
    return [t.mask.label[2], t.points.length]
  }
  assert.deepEqual([lasso('pointercancel'), lasso('pointerup')], [[255, 0], [0, 0]])
})
