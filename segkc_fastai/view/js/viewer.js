// The widget MaskViewer
import {initialize} from './arrive.js'
import {renderView} from './view.js'

export default {initialize, render: given => renderView(given)}
