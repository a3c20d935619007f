// Owns the EventSource. Ports (tabs) tell it their topics and the last id their page was rendered at; a ring of recent
// events closes the gap between rendering a page and joining the stream.
const TYPES = ['server', 'run', 'log', 'action', 'notification', 'notification-read', 'cluster', 'workspace', 'reset'];
const RING = 2000;

const order = (a, b) => {
  const [x, y] = a.split('-').map(Number);
  const [u, v] = b.split('-').map(Number);
  return x - u || y - v;
};

export class Hub {
  ports = new Map();
  ring = [];
  last = '';
  floor = ''; // everything after this id is in the ring
  topics = '';
  source = null;
  state = 'connecting';
  timer = 0;

  add(port) {
    port.onmessage = ({ data }) => {
      if (data.type === 'join') {
        const known = this.ports.get(port);
        this.ports.set(port, data);
        if (!known) this.catchUp(port, data.last);
        this.plan();
      } else if (data.type === 'leave') {
        this.ports.delete(port);
        this.plan();
      }
    };
    port.start?.();
  }

  catchUp(port, last) {
    // No id: the stream was empty or could not be read, there is nothing to compare with.
    if (!last || last === '0-0') this.last ||= '';
    else if (!this.last) this.last = last;
    else if (this.floor && order(last, this.floor) < 0) port.postMessage({ type: 'reset' });
    else for (const m of this.ring) if (order(m.id, last) > 0) port.postMessage(m);
    port.postMessage({ type: 'state', data: this.state });
  }

  plan() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.sync(), 60);
  }

  sync() {
    if (!this.ports.size) {
      this.source?.close();
      this.source = null;
      return;
    }
    const topics = [...new Set([...this.ports.values()].flatMap(p => p.topics))].sort().join(',');
    if (this.source && topics === this.topics) return;
    this.topics = topics;
    this.source?.close();
    this.open();
  }

  open() {
    this.floor ||= this.last;
    const url = `/api/stream?topics=${encodeURIComponent(this.topics)}&last=${encodeURIComponent(this.last)}`;
    const source = (this.source = new EventSource(url));
    source.onopen = () => this.tell('live');
    source.onerror = () => {
      if (source !== this.source) return;
      this.tell('waiting');
      // An error status or 204 ends an EventSource for good: ask why, then try again.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => source === this.source && this.reopen(), 3000 + Math.random() * 2000);
    };
    for (const type of TYPES) source.addEventListener(type, e => source === this.source && this.take(type, e));
    source.addEventListener('signed-out', () => source === this.source && this.end());
  }

  async reopen() {
    // As JSON: a page would be answered by a redirect to the sign-in page, which is no refusal.
    const answer = await fetch('/session', { headers: { Accept: 'application/json' } }).catch(() => null);
    if (answer?.status === 401) this.end();
    else this.open();
  }

  // The session is over: no further connection, every tab goes to the sign-in page.
  end() {
    this.source?.close();
    this.source = null;
    this.say({ type: 'signed-out' });
  }

  take(type, e) {
    const message = { type, id: e.lastEventId, data: e.data ? JSON.parse(e.data) : {} };
    if (type === 'reset') {
      this.ring = [];
      this.last = this.floor = message.id || '';
    } else if (message.id) {
      if (this.last && order(message.id, this.last) <= 0) return; // overlap after a reconnect
      this.last = message.id;
      this.ring.push(message);
      if (this.ring.length > RING) {
        this.floor = this.ring.splice(0, RING / 2).at(-1).id;
      }
    }
    this.say(message);
  }

  tell(state) {
    this.state = state;
    this.say({ type: 'state', data: state });
  }

  say(message) {
    for (const port of this.ports.keys()) port.postMessage(message);
  }
}
