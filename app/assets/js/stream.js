// The page's side of the stream: a SharedWorker, else one leader tab (Web Lock) serving the rest by BroadcastChannel,
// else an EventSource of its own. Dispatches `tpm:<type>` on document.
import { Hub } from './hub.js';

const { stream, worker, last: rendered } = document.body.dataset;
let last = rendered;

function emit(message) {
  if (message.id) last = message.id;
  document.dispatchEvent(new CustomEvent(`tpm:${message.type}`, { detail: message.data }));
}

const join = () => ({ type: 'join', topics: stream.split(','), last });
const localPort = send => ({ onmessage: null, postMessage: send });

function shared() {
  const { port } = new SharedWorker(worker, { name: `tpm-${document.body.dataset.user}`, type: 'module' });
  port.onmessage = ({ data }) => emit(data);
  port.start();
  port.postMessage(join());
  addEventListener('pagehide', () => port.postMessage({ type: 'leave' }));
  addEventListener('pageshow', e => e.persisted && port.postMessage(join()));
}

function leader() {
  const channel = new BroadcastChannel('tpm');
  const me = crypto.randomUUID?.() ?? String(Math.random());
  const remote = new Map();
  let hub = null;
  channel.onmessage = ({ data: m }) => {
    if (m.to === me) emit(m.message);
    else if (!hub && m.hello) channel.postMessage({ from: me, up: join() });
    if (!hub || !m.from || !m.up) return;
    let port = remote.get(m.from);
    if (!port) {
      port = localPort(message => channel.postMessage({ to: m.from, message }));
      remote.set(m.from, port);
      hub.add(port);
    }
    port.onmessage({ data: m.up });
    if (m.up.type === 'leave') remote.delete(m.from);
  };
  navigator.locks.request('tpm-stream', () => new Promise(release => {
    hub = new Hub();
    own(hub);
    channel.postMessage({ hello: true }); // a new leader asks everyone to join again
    addEventListener('pagehide', release, { once: true });
  }));
  channel.postMessage({ from: me, up: join() });
  addEventListener('pagehide', () => channel.postMessage({ from: me, up: { type: 'leave' } }));
}

function own(hub = new Hub()) {
  const port = localPort(emit);
  hub.add(port);
  port.onmessage({ data: join() });
}

export function start() {
  if (!stream) return;
  let mode = 'own';
  if (window.SharedWorker) mode = 'shared';
  else if (navigator.locks && window.BroadcastChannel) mode = 'leader';
  try {
    ({ shared, leader, own: () => own() })[mode]();
  } catch {
    mode = 'own'; // storage is blocked
    own();
  }
  document.documentElement.dataset.stream = mode;
}
