// The widget RunChoice: which of several runs is judged against which, and which panels are shown
import {el, keepKeys, widgetRoot} from './dom.js'

function renderChoice({model, el: host}) {
  const root = widgetRoot(host, 'segkc segkc-nav segkc-choice', 'runs and panels')
  const c = {model, bar: el(root, 'div', 'tools')}
  c.baseline = runSelect(c, 'baseline', 'the run that the other is compared with')
  c.judged = runSelect(c, 'judged', 'the run whose numbers, gain and loss are shown')
  el(c.bar, 'span', '', 'panels:')
  c.shown = model.get('names').map(name => runBox(c, name))
  const show = () => showChoice(c)
  const off = keepKeys(root)
  model.on('change', show)
  show()
  return () => {
    model.off('change', show)
    off()
  }
}

function chosen(c, name, value) {
  c.model.set(name, value)
  c.model.save_changes()
}

function runSelect(c, name, title) {
  const e = el(el(c.bar, 'label', '', name), 'select', name)
  e.title = title
  for (const run of c.model.get('names')) el(e, 'option', '', run)
  e.onchange = () => chosen(c, name, e.value)
  return e
}

function runBox(c, name) {
  const label = el(c.bar, 'label')
  const e = Object.assign(el(label, 'input'), {type: 'checkbox', value: name})
  label.append(name)
  e.onchange = () => chosen(c, 'shown', c.shown.filter(o => o.checked).map(o => o.value))
  return e
}

// The two that are compared are always shown
function showChoice(c) {
  const pair = [c.model.get('baseline'), c.model.get('judged')]
  Object.assign(c.baseline, {value: pair[0]})
  Object.assign(c.judged, {value: pair[1]})
  for (const e of c.shown) {
    e.disabled = pair.includes(e.value)
    e.checked = e.disabled || c.model.get('shown').includes(e.value)
  }
}

export default {render: renderChoice}
