// The live view of a run: status, panels of curves, probe images
import {plotPanel, seriesNames} from './curve_panel.js'
import {el, hideStill, put, widgetRoot} from './dom.js'
import {showProbe} from './training_probe.js'

function drawPanels(box, chart, running) {
  const panels = chart.panels ?? []
  while (box.children.length > panels.length) box.lastChild.remove()
  while (box.children.length < panels.length) el(box, 'div', 'panel')
  const widths = Array.from(box.children, o => o.clientWidth || 190) // all before a change triggers a layout
  panels.forEach((p, i) => {
    const title = el(null, 'div', 'title', p.title)
    const unit = el(null, 'div', 'unit', p.unit)
    box.children[i].replaceChildren(title, unit, plotPanel(p, chart, running, widths[i]), seriesNames(p))
  })
}

// Several messages between two frames are drawn once
function oncePerFrame(f) {
  let waiting = 0
  return () => {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0
      f()
    })
  }
}

export default {
  render({model, el: host}) {
    const root = widgetRoot(host, 'segkc-training', 'training monitor')
    const parts = ['status', 'error', 'warnings', 'panels', 'constant', 'probe']
    const [status, error, warnings, panels, constant, probe] = parts.map(k => el(root, 'div', k))
    error.setAttribute('role', 'alert')
    const shown = hideStill(model)
    let gone = false
    const draw = () => {
      if (gone) return
      status.textContent = model.get('status')
      put(error, model.get('error'))
      warnings.replaceChildren(...model.get('warnings').map(o => el(null, 'div', '', o)))
      drawPanels(panels, model.get('chart'), model.get('running'))
      const same = model.get('chart').constant ?? []
      constant.textContent = same.length ? `in all epochs: ${same.join(' · ')}` : ''
    }
    const soon = oncePerFrame(draw)
    const pictures = () => showProbe(probe, model.get('probe'))
    const width = new ResizeObserver(soon)
    width.observe(root)
    const events = 'change:chart change:running change:status change:error change:warnings'
    model.on(events, soon)
    model.on('change:probe', pictures)
    draw()
    pictures()
    return () => {
      gone = true
      width.disconnect()
      shown()
      model.off(events, soon)
      model.off('change:probe', pictures)
    }
  },
}
