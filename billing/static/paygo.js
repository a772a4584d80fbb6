// Every page works without this: it only makes the nhsuk components comfortable.
import { initAll } from './vendor/nhsuk-frontend-10.6.1.min.js'

initAll()

// A page whose work goes on in the background looks again by itself.
const again = document.querySelector('[data-paygo-again]')
if (again) setTimeout(() => location.reload(), 1000 * Number(again.dataset.paygoAgain))
