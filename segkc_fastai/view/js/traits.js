// Changes that the kernel hears of, and what is said under the panels
import {put} from './dom.js'

// Drawn at once. The kernel is told at once too (one message at a time, the latest wins): a value it had not been told
// would be undone by its echo of the one before
export function change(v, name, value) {
  v.model.set(name, value)
  v.model.save_changes()
}

// One class, or all of them if it is undefined
export function alone(v, k) {
  change(v, 'classes', v.names.map((_, i) => k === undefined || i === k))
}

export function say(v, text, bad = false) {
  put(v.ui.line, text)
  v.ui.line.classList.toggle('bad', bad)
}

// Errors are shown: a viewer that silently stands still would be taken for the truth
export function guarded(v, f) {
  const bad = e => {
    say(v, `error: ${e.message}`, true)
    console.error(e)
  }
  return (...args) => {
    try {
      const result = f(...args)
      result?.catch?.(bad)
      return result
    } catch (e) {
      bad(e)
    }
  }
}
