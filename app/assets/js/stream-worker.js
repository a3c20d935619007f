// SharedWorker: one EventSource for every tab of this browser.
import { Hub } from './hub.js';

const hub = new Hub();
onconnect = e => hub.add(e.ports[0]);
