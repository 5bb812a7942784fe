// Changes that are sent to the kernel, and the line above the panels
import {put} from './dom.js'
import {cellLine} from './matrix.js'

// Drawn at once, and sent at once (one message at a time, the latest wins): a value that the kernel did not know
// would be undone by its echo of the previous one
export function change(v, name, value) {
  v.model.set(name, value)
  v.model.save_changes()
}

// Shows class k alone, or all classes if k is undefined
export function alone(v, k) {
  change(v, 'classes', v.names.map((_, i) => k === undefined || i === k))
}

// The line above the panels. `say` writes a message, `tell` what `f` returns now and after each later drawing; a screen
// reader reads out errors alone
export function say(v, text, bad = false) {
  v.telling = null
  v.ui.line.ariaLive = bad ? 'assertive' : 'off'
  put(v.ui.line, text)
  v.ui.line.title = text
  v.ui.line.classList.toggle('bad', bad)
}

export function tell(v, f) {
  say(v, f())
  v.telling = f
}

// While the pointer is elsewhere
export const idle = v => tell(v, () => cellLine(v) || 'click a panel, then press ? for the keys')

// Errors are shown: a viewer that stopped silently would still be trusted
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
