// The page's side of the stream: a SharedWorker, else one leader tab (Web Lock) serving the rest by BroadcastChannel,
// else an EventSource of its own. Dispatches `tpm:<type>` on document.
import { Hub } from './hub.js';

const { stream, worker, last: rendered } = document.body.dataset;
let last = rendered;

const say = (type, detail) => document.dispatchEvent(new CustomEvent(`tpm:${type}`, { detail }));

// A tab that nobody sees does nothing: it keeps the newest of each thing until somebody looks. What concerns the
// connection itself is told at once.
const held = new Map();
const AT_ONCE = new Set(['state', 'signed-out']);
const TOASTS = 3;

function hold({ type, data }) {
  if (type === 'reset') held.clear(); // everything is fetched anew, whatever came before
  for (const item of data.items ?? [data]) {
    const key = `${type} ${item.id ?? item.run ?? item.name ?? ''}`;
    held.set(key, { type, data: { ...held.get(key)?.data, ...item } });
  }
  const told = type === 'notification' ? [...held.keys()].filter(key => key.startsWith('notification ')) : [];
  for (const key of told.slice(0, -TOASTS)) held.delete(key);
}

function release() {
  if (document.hidden) return;
  const messages = [...held.values()];
  held.clear();
  for (const { type, data } of messages) say(type, data);
}
document.addEventListener('visibilitychange', release);

function emit(message) {
  if (message.id) last = message.id;
  if (document.hidden && !AT_ONCE.has(message.type)) hold(message);
  else say(message.type, message.data);
}

const join = () => ({ type: 'join', topics: stream.split(','), last });
// An open connection does not notice that the network is gone, or back.
const onWake = send => {
  addEventListener('offline', () => say('state', 'waiting'));
  addEventListener('online', () => send({ type: 'wake' }));
};
const localPort = send => ({ onmessage: null, postMessage: send });

function shared() {
  const { port } = new SharedWorker(worker, { name: `tpm-${document.body.dataset.user}`, type: 'module' });
  port.onmessage = ({ data }) => emit(data);
  port.start();
  port.postMessage(join());
  onWake(message => port.postMessage(message));
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
  onWake(up => hub || channel.postMessage({ from: me, up }));
  addEventListener('pagehide', () => channel.postMessage({ from: me, up: { type: 'leave' } }));
}

function own(hub = new Hub()) {
  const port = localPort(emit);
  hub.add(port);
  port.onmessage({ data: join() });
  onWake(data => port.onmessage({ data }));
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
