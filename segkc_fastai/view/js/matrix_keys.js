// A matrix is reached with Tab: arrow keys point at a cell, Enter chooses it
import {commanding} from './dom.js'
import {clamp} from './geometry.js'

const STEPS = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}

// The classes one step away, inside the matrix; the first cell if none is pointed at
export function stepCell(order, cell, by) {
  const at = (cell || []).map(k => order.indexOf(k))
  if (at.length < 2 || at.includes(-1)) return [order[0], order[0]]
  return at.map((i, axis) => order[clamp(i + by[axis], 0, order.length - 1)])
}

// `show` draws `v.pointed`. A click leaves the focus to the viewer, whose arrow keys change the image
export function matrixKeys(v, canvas, show, choose) {
  const point = cell => {
    v.pointed = cell
    show(cell)
  }
  canvas.tabIndex = 0
  canvas.onmousedown = ev => {
    ev.preventDefault()
    v.el.focus({preventScroll: true})
  }
  canvas.onblur = () => v.pointed && point(null)
  canvas.onkeydown = ev => {
    const by = STEPS[ev.key]
    if (!v.cross?.order.length || commanding(ev) || !by && ev.key !== 'Enter') return
    ev.preventDefault()
    ev.stopPropagation()
    if (by) point(stepCell(v.cross.order, v.pointed, by))
    else if (v.pointed) choose(v.pointed)
  }
}
