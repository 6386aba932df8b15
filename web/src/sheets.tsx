// Which dialog of a phone is open, and the dialogs about a message.
import type { Message } from '@imapi/client';
import { useEffect, useState } from 'preact/hooks';
import type { Opened } from './chat';
import { Info, Leave } from './info';
import { NewChannel, NewChat, NewConversation } from './new';
import { Avatar, Fault, Field, Icon, Sheet, Submit, useWatched, useWork } from './parts';
import type { Phone } from './phone';
import { prove, type Proof } from './session';
import { SpaceInfo } from './space';
import { bytes, explained, plain, visible, words } from './words';

export function Sheets({ phone, opened, onOpen, onClose }: { phone: Phone; opened: Opened | undefined; onOpen: (opened: Opened) => void; onClose: () => void }) {
  useWatched(phone);
  const c = phone.open ? phone.conversations.get(phone.open) : undefined;
  const gone = opened?.sheet === 'info' ? !c : opened?.sheet === 'space' || opened?.sheet === 'channel' ? !phone.spaces.has(opened.id)
    : opened?.sheet === 'leave' && !phone.spaces.has(opened.id) && !phone.conversations.has(opened.id);
  useEffect(() => { if (gone) onClose(); }, [gone]);
  if (!opened || gone) return null;
  switch (opened.sheet) {
    case 'revoke': return <TakeBack phone={phone} message={opened.message} onClose={onClose} />;
    case 'receipts': return <WhoRead phone={phone} message={opened.message} onClose={onClose} />;
    case 'proof': return <Proven phone={phone} message={opened.message} onClose={onClose} />;
    case 'picture': return <Large phone={phone} message={opened.message} onClose={onClose} />;
    case 'info': return c ? <Info key={c.id} phone={phone} c={c} onOpen={onOpen} onClose={onClose} /> : null;
    case 'new': return <NewChat phone={phone} onOpen={onOpen} onClose={onClose} />;
    case 'create': return <NewConversation key={opened.kind} phone={phone} kind={opened.kind} onClose={onClose} />;
    case 'channel': return <NewChannel phone={phone} space={opened.id} onClose={onClose} />;
    case 'space': return <SpaceInfo phone={phone} id={opened.id} onOpen={onOpen} onClose={onClose} />;
    case 'leave': return <Leave phone={phone} id={opened.id} onClose={onClose} />;
  }
}

function TakeBack({ phone, message, onClose }: { phone: Phone; message: Message; onClose: () => void }) {
  const [reason, setReason] = useState('');
  const work = useWork(phone);
  return <Sheet title={words.takeBackTitle} onClose={onClose}>
    <form onSubmit={event => { event.preventDefault(); void work.run(() => phone.sending.takeBack(message, reason.trim())).then(done => { if (done) onClose(); }); }}>
      <p>{words.takeBackText}</p>
      <Field label={words.reason} value={reason} onInput={setReason} most={200} first />
      <Fault work={work} />
      <footer><button type="button" class="quiet" onClick={onClose}>{words.cancel}</button><Submit work={work} class="danger"><Icon name="undo" />{words.takeBackNow}</Submit></footer>
    </form>
  </Sheet>;
}

function WhoRead({ phone, message, onClose }: { phone: Phone; message: Message; onClose: () => void }) {
  useEffect(() => { void phone.receipts.of(message); }, []);
  const got = phone.readers.get(message.id) ?? { read: [], delivered: [], unread: [] };
  const delivered = got.delivered.filter(user => !got.read.includes(user));
  const rest = got.unread.filter(user => !delivered.includes(user));
  return <Sheet title={words.whoRead} onClose={onClose}>
    {([[words.readList, got.read], [words.deliveredList, delivered], [words.unreadList, rest]] as const).map(([title, users]) => <div class="names" key={title}>
      <h3>{title} <span>{users.length}</span></h3>
      {users.length ? <ul>{users.map(user => <li key={user}><Avatar name={user} size="small" /><bdi>{user}</bdi></li>)}</ul> : <p class="quiet-text">{words.nobody}</p>}
    </div>)}
  </Sheet>;
}

/** Searches all files of the server for a text that was taken back. */
function Proven({ phone, message, onClose }: { phone: Phone; message: Message; onClose: () => void }) {
  const kept = phone.texts.get(message.id);
  const text = kept?.type === 'text' ? kept.body.text : '';
  const [proof, setProof] = useState<Proof>();
  const [fault, setFault] = useState('');
  const short = new TextEncoder().encode(text).length < 6;
  useEffect(() => {
    if (short) return;
    let closed = false;
    void (async () => {
      for (let tries = 0; !closed && tries < 20; tries++) { // its key is destroyed within seconds
        try {
          const found = await prove(message.id, text);
          if (closed) return;
          setProof(found);
          if (found.shredded_at) return;
        } catch (error) {
          if (!closed && tries > 3) { setFault(explained(error)); return; }
        }
        await new Promise(resolve => setTimeout(resolve, 700));
      }
    })();
    return () => { closed = true; };
  }, []);
  const found = proof?.files.some(file => file.text);
  return <Sheet title={words.proofTitle} onClose={onClose} class="proof">
    <p class="proof-text"><span>{words.forText}</span> <q dir="auto">{visible(text)}</q></p>
    {short ? <p>{words.proofShort}</p> : fault ? <p class="bad">{fault}</p> : !proof ? <p role="status">{words.proofWorking}</p> : <>
      <p class={`verdict ${found ? 'bad' : 'good'}`} role="status"><Icon name={found ? 'close' : 'shield'} /><span><b>{found ? words.proofFound : words.proofGone}</b><small>{words.proofFiles(proof.files.length, bytes(proof.files.reduce((sum, f) => sum + f.size, 0)))}{!proof.complete && ` · ${words.incomplete}`}</small></span></p>
      <p class={`verdict ${proof.shredded_at ? 'good' : 'waits'}`}><Icon name={proof.shredded_at ? 'check' : 'clock'} /><span><b>{proof.shredded_at ? words.proofKey : words.proofWaiting}</b>
        {proof.shredded_at && <small>{words.proofShredded(`${((Date.parse(proof.shredded_at) - Date.parse(proof.erased_at)) / 1000).toFixed(1)} s`)}</small>}</span></p>
      <table><tbody>{proof.files.filter(file => file.size > 0).map(file => <tr key={file.name}><th scope="row">{file.name}</th><td>{bytes(file.size)}</td><td class={file.text ? 'bad' : 'good'}>{file.text ? words.yes : words.no}</td></tr>)}</tbody></table>
      {proof.files.some(file => file.control) && <p class="quiet-text">{words.proofControl(proof.control)}</p>}
    </>}
  </Sheet>;
}

function Large({ phone, message, onClose }: { phone: Phone; message: Message; onClose: () => void }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    let made: string | undefined, closed = false;
    void phone.attempt(() => phone.files.file(message.body?.attachment_id ?? '')).then(blob => {
      if (closed) return;
      if (!blob) { onClose(); return; }
      made = URL.createObjectURL(blob);
      setUrl(made);
    });
    return () => { closed = true; if (made) URL.revokeObjectURL(made); };
  }, []);
  const erased = phone.talks.get(message.conversation_id)?.messages.get(message.id)?.state !== 'active';
  useEffect(() => { if (erased) onClose(); }, [erased]);
  return <Sheet title={plain(message.body?.name ?? words.photo)} onClose={onClose} class="picture-sheet">
    {url && <><img src={url} alt={plain(message.body?.name ?? '')} /><footer><a class="button" href={url} download={plain(message.body?.name ?? 'picture')}>{words.download}</a></footer></>}
  </Sheet>;
}
