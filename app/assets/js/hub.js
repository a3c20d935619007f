// Owns the EventSource, and comes back by itself with the last id when it is lost. Ports (tabs) tell it their topics and the last id their page was rendered at; a ring of recent
// events closes the gap between rendering a page and joining the stream.
const TYPES = ['server', 'run', 'log', 'action', 'notification', 'notification-read', 'cluster', 'workspace', 'statistics', 'schedule', 'safe_change', 'reset'];
const RING = 2000;
const SILENCE = 40_000; // the server says something every 15 s
const STEADY = 10_000; // a connection that held so long begins the waiting anew
const LONGEST = 30_000;

// Twice as long each time, and never the same for two browsers: a server that comes back is not run over.
const wait = attempt => Math.min(LONGEST, 1000 * 2 ** attempt) * (0.5 + Math.random() / 2);

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
  attempt = 0;
  opened = 0;
  retry = 0;
  silence = 0;

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
      } else if (data.type === 'wake' && this.source) {
        // The network is back: what looks open may be dead, and nobody has to wait any longer.
        this.attempt = 0;
        this.topics = '';
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
      this.close();
      return;
    }
    const topics = [...new Set([...this.ports.values()].flatMap(p => p.topics))].sort().join(',');
    if (this.source && topics === this.topics) return;
    this.topics = topics;
    this.open();
  }

  close() {
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    this.source?.close();
    this.source = null;
  }

  open() {
    this.close();
    this.floor ||= this.last;
    const url = `/api/stream?topics=${encodeURIComponent(this.topics)}&last=${encodeURIComponent(this.last)}`;
    const source = (this.source = new EventSource(url));
    const mine = handler => e => source === this.source && handler(e);
    source.onopen = mine(() => {
      this.opened = Date.now();
      this.heard();
      this.tell('live');
    });
    // An error status or 204 ends an EventSource for good, and its own way back knows no patience: ours does.
    source.onerror = mine(() => this.lost(source.readyState === EventSource.CLOSED));
    source.addEventListener('beat', mine(() => this.heard()));
    for (const type of TYPES) source.addEventListener(type, mine(e => this.take(type, e)));
    source.addEventListener('signed-out', mine(() => this.end()));
    this.heard();
  }

  heard() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.source && this.lost(false), SILENCE);
  }

  lost(refused) {
    clearTimeout(this.silence);
    const { source } = this;
    source.close();
    this.tell('waiting');
    if (this.opened && Date.now() - this.opened > STEADY) this.attempt = 0;
    this.opened = 0;
    this.retry = setTimeout(() => source === this.source && (refused ? this.reopen() : this.open()), wait(this.attempt));
    this.attempt += 1;
  }

  async reopen() {
    const { source } = this;
    // As JSON: a page would be answered by a redirect to the sign-in page, which is no refusal.
    const answer = await fetch('/session', { headers: { Accept: 'application/json' } }).catch(() => null);
    if (source !== this.source) return;
    if (answer?.status === 401) this.end();
    else this.open();
  }

  // The session is over: no further connection, every tab goes to the sign-in page.
  end() {
    this.close();
    this.say({ type: 'signed-out' });
  }

  take(type, e) {
    this.heard();
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
