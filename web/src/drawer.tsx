// The drawer: requests and events as they pass, each to be copied as curl.
import { useState } from 'preact/hooks';
import { hue, Icon, IconButton, useWatched } from './parts';
import { curl, wire, type Entry } from './wire';
import { words } from './words';

export function Drawer({ onClose }: { onClose: () => void }) {
  useWatched(wire);
  const [open, setOpen] = useState<number>();
  const [user, setUser] = useState('');
  const users = [...new Set(wire.entries.map(e => e.user))].sort();
  const entries = wire.entries.filter(e => !user || e.user === user);
  return <aside class="drawer" aria-label={words.wireTitle} onKeyDown={event => { if (event.key === 'Escape') { onClose(); event.preventDefault(); } }}>
    <header><h2>{words.wireTitle}</h2><button type="button" class="small quiet" onClick={() => wire.clear()}>{words.clear}</button><IconButton icon="close" label={words.close} onClick={onClose} /></header>
    <div class="filters" role="group" aria-label={words.person}>{['', ...users].map(one => <button type="button" key={one} class={`small ${one === user ? '' : 'quiet'}`} aria-pressed={one === user} onClick={() => setUser(one)}>{one ? <bdi>{one}</bdi> : words.everybody}</button>)}</div>
    {entries.length === 0 ? <p class="empty">{words.wireEmpty}</p> : <ol tabIndex={0} aria-label={words.wireTitle}>{entries.map(e => <Line key={e.n} e={e} open={open === e.n} onToggle={() => setOpen(open === e.n ? undefined : e.n)} />)}</ol>}
  </aside>;
}

function Line({ e, open, onToggle }: { e: Entry; open: boolean; onToggle: () => void }) {
  const [copied, setCopied] = useState(false);
  const status = e.status < 0 ? '✕' : e.status || '…';
  return <li class={`${e.kind} ${hue(e.user)}`}>
    <button type="button" class="wire-line" aria-expanded={open} onClick={onToggle}>
      <span class="wire-user" title={e.user} />
      {e.kind === 'request' ? <><b>{e.method}</b><code>{e.title}</code><span class={`status ${e.status < 0 || e.status >= 400 ? 'bad' : ''}`}>{status}</span></>
        : <><b>↓</b><code>{e.title}</code><span class="status">{words.event}</span></>}
    </button>
    {open && <div class="wire-more">
      <p><time dateTime={e.at.toISOString()}>{e.at.toISOString().slice(11, 23)}</time> · <bdi>{e.user}</bdi>{e.took > 0 && ` · ${Math.round(e.took)} ms`}
        <button type="button" class="small" onClick={() => void navigator.clipboard?.writeText(curl(e)).then(() => { setCopied(true); setTimeout(() => setCopied(false), 1500); }, () => {})}><Icon name="copy" />{copied ? words.copied : words.copyCurl}</button></p>
      {e.sent && <><h3>{words.request}</h3><pre tabIndex={0} dir="ltr">{pretty(e.sent)}</pre></>}
      {e.got && <><h3>{e.kind === 'event' ? words.event : words.answer}</h3><pre tabIndex={0} dir="ltr">{pretty(e.got)}</pre></>}
      <h3>curl</h3><pre tabIndex={0} dir="ltr" class="curl">{curl(e)}</pre>
    </div>}
  </li>;
}

function pretty(text: string): string {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}
