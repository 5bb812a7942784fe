// An extension of JupyterLab that runs the cells of one notebook, `segkcNotebook`, once for each kernel

async function runOnce(app, panel) {
  await panel.context.ready
  await panel.sessionContext.ready
  const kernel = panel.sessionContext.session?.kernel
  if (!kernel || localStorage.getItem('segkc-kernel') === kernel.id) return
  localStorage.setItem('segkc-kernel', kernel.id)
  await app.commands.execute('notebook:run-all-cells')
}

function watchNotebook(app) {
  const look = () => {
    const panel = app.shell.currentWidget
    if (panel?.context?.path === segkcNotebook) runOnce(app, panel)
  }
  app.shell.currentChanged.connect(look)
  app.restored.then(look)
}

const runPlugin = {id: 'segkc-lab:run', autoStart: true, activate: watchNotebook}
window._JUPYTERLAB = window._JUPYTERLAB ?? {}
window._JUPYTERLAB['segkc-lab'] = {init: () => null, get: async () => () => ({__esModule: true, default: runPlugin})}
