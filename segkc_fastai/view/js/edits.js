// Changes of a map, as triples [class, first pixel, number of pixels, …] that the kernel applies as well

const MOST = 300 // edits that can be undone
const ROOM = 2 ** 23 // and their triples, in numbers

function extendTriples(triples, value, i) {
  const n = triples.length
  if (n && triples[n - 3] === value && triples[n - 2] + triples[n - 1] === i) triples[n - 1]++
  else triples.push(value, i, 1)
}

// Writes class `to` into the pixels of runs, adds what changed to an edit, and returns it
export function setRuns(label, runs, to, edit) {
  const news = []
  for (let k = 0; k < runs.length; k += 2) {
    for (let i = runs[k]; i < runs[k] + runs[k + 1]; i++) {
      if (label[i] === to) continue
      extendTriples(news, to, i)
      extendTriples(edit.back, label[i], i)
      label[i] = to
    }
  }
  for (const o of news) edit.forward.push(o)
  return news
}

export const newEdit = () => ({forward: [], back: []})

export function applyTriples(label, triples) {
  for (let k = 0; k < triples.length; k += 3) label.fill(triples[k], triples[k + 1], triples[k + 1] + triples[k + 2])
  return triples
}

// So that a pixel that changed twice gets its first class again
function lastFirst(triples) {
  const reversed = Int32Array.from(triples).reverse()
  for (let k = 0; k < reversed.length; k += 3) [reversed[k], reversed[k + 2]] = [reversed[k + 2], reversed[k]]
  return reversed
}

export const newHistory = () => ({done: [], undone: [], room: 0})

const cost = edit => edit.forward.length + edit.back.length

export function remember(history, edit) {
  if (!edit.forward.length) return
  history.done.push(edit)
  for (const o of history.undone.splice(0)) history.room -= cost(o)
  history.room += cost(edit)
  while (history.done.length > MOST || history.room > ROOM && history.done.length > 1) {
    history.room -= cost(history.done.shift())
  }
}

// Undoes or repeats an edit; returns its triples, or null without one
export function undo(history, label) {
  const edit = history.done.pop()
  if (!edit) return null
  history.undone.push(edit)
  return applyTriples(label, lastFirst(edit.back))
}

export function redo(history, label) {
  const edit = history.undone.pop()
  if (!edit) return null
  history.done.push(edit)
  return applyTriples(label, edit.forward)
}

// The smallest box [x0, y0, x1, y1] around the pixels of triples, with its last row and column
export function boxOf(triples, w) {
  const box = [Infinity, Infinity, -1, -1]
  for (let k = 0; k < triples.length; k += 3) {
    const [first, last] = [triples[k + 1], triples[k + 1] + triples[k + 2] - 1]
    const [y0, y1] = [Math.floor(first / w), Math.floor(last / w)]
    const [x0, x1] = y0 === y1 ? [first % w, last % w] : [0, w - 1]
    box[0] = Math.min(box[0], x0)
    box[1] = Math.min(box[1], y0)
    box[2] = Math.max(box[2], x1)
    box[3] = Math.max(box[3], y1)
  }
  return box
}
