// Every page works without this: it only makes the nhsuk components comfortable.
import { initAll } from './vendor/nhsuk-frontend-10.6.1.min.js'

initAll()
