// What a visitor finds at the first visit, written through the public API by the demo's people
// themselves; and the assistant, who answers through a data stream.
import type { Conversation, Message, Schemas } from '@imapi/client';
import { Api, Problem } from './api';
import { assistant, signIn } from './session';
import { random } from './state';

type Cast = Record<'Ada' | 'Grace' | 'Alan' | 'Hedy' | 'Iris', Api>;

/** Writes the scene unless it is there. Two tabs take turns. */
export async function setScene(): Promise<void> {
  await navigator.locks.request('imapi-demo-scene', async () => {
    const tokens = await Promise.all((['Ada', 'Grace', 'Alan', 'Hedy', 'Iris'] as const).map(async user => [user, new Api(user, `scene-${random()}`, (await signIn(user)).token)] as const));
    const cast = Object.fromEntries(tokens) as Cast;
    // Its last step is a message of the assistant to Ada.
    const chats = await cast.Ada.all('/v1/conversations', { query: { kind: 'direct' } });
    if (!chats.some(c => c.peer === assistant)) await write(cast);
  });
}

async function write({ Ada, Grace, Alan, Hedy, Iris }: Cast): Promise<void> {
  const group = await grouped(Ada, 'group', 'Analytical Engine', ['Grace', 'Alan', 'Hedy', 'Iris'], { history: 'all', announcement: 'Thursdays at eight, in the library. Bring your punched cards.' });
  const opening = await say(Hedy, group.id, 'I have a way to hop between 88 frequencies, like the keys of a piano. Nobody can listen in.', 'scene-1');
  await say(Alan, group.id, 'Does it come with a proof?', 'scene-2', { reply_to: opening.id });
  await say(Grace, group.id, 'It comes with a moth in relay 70. I have taped it into the log book.', 'scene-3', { receipt: true });
  const question = await say(Ada, group.id, 'Then the engine weaves algebraical patterns at last. Who writes the first program?', 'scene-4', { receipt: true });
  await say(Alan, group.id, '@Ada you did, in 1843. I only asked whether it would ever stop.', 'scene-5', { mentions: ['Ada'], receipt: true });
  await say(Ada, group.id, 'Library, Thursday, eight. I shall bring the cards.', 'scene-6', { receipt: true });

  const thread = await threadUnder(Grace, question, 'The first program');
  await say(Grace, thread.id, 'Note G, the one for the Bernoulli numbers.', 'scene-7');
  await Alan.post('/v1/conversations/{conversation}/join', { path: { conversation: thread.id } });
  await say(Alan, thread.id, 'With one bug in it, which makes it a real program.', 'scene-8');

  const room = await grouped(Hedy, 'room', 'Open house', ['Ada', 'Grace', 'Alan']);
  await say(Hedy, room.id, 'Anybody may come in here, and nobody sees what you have read.', 'scene-9');

  const { general, notices } = await society(Ada);
  await say(Hedy, notices.id, 'Only editors write here. Ada makes somebody an editor with one tick.', 'scene-10');
  await say(Alan, general.id, 'Has anybody seen the tape? It was infinite this morning.', 'scene-11');
  await say(Hedy, general.id, 'Look behind the head.', 'scene-12');

  await say(Alan, '@Grace', 'Your compiler compiles my doubts away.', 'scene-13');
  await say(Ada, '@Grace', 'Good morning! Is the engine awake?', 'scene-14');
  await say(Grace, '@Ada', 'Since six. It asked for you.', 'scene-15');
  await say(Ada, '@Grace', 'Tell it I am bringing new cards.', 'scene-16');
  await say(Grace, '@Ada', 'Here is what I may not write down. Read it, and it burns.', 'scene-17');
  await say(Grace, '@Ada', 'The key to the engine room is under the third relay.', 'scene-18', { burn: { after_seconds: 10 } });
  await read(Grace, ['@Ada', group.id]);
  await say(Hedy, group.id, '@Grace we need your moth for the slides.', 'scene-19', { mentions: ['Grace'], receipt: true });
  await read(Alan, [group.id]);
  for (const someone of ['Grace', 'Ada']) await say(Iris, `@${someone}`, `Good day, ${someone}. Ask me anything: my answer appears as I write it.`, `scene-iris-${someone}`);
}

async function threadUnder(owner: Api, message: Message, name: string): Promise<Conversation> {
  const path = { message: message.id };
  try {
    return await owner.post('/v1/messages/{message}/thread', { path, body: { name } });
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'thread_exists') throw error;
    return owner.get('/v1/messages/{message}/thread', { path });
  }
}

/** The space, with its channels, and a role without which nobody writes in one of them. */
async function society(owner: Api): Promise<{ general: Conversation; notices: Conversation }> {
  const name = 'The Society';
  const space = (await owner.all('/v1/spaces')).find(s => s.name === name) ?? await owner.post('/v1/spaces', { body: { name, settings: { announcement: 'For those who compute.' } } });
  const path = { space: space.id };
  await owner.post('/v1/spaces/{space}/members', { path, body: { members: ['Grace', 'Alan', 'Hedy'] } });
  const roles = await owner.get('/v1/spaces/{space}/roles', { path });
  const editors = roles.items.find(r => r.name === 'Editors')
    ?? await owner.post('/v1/spaces/{space}/roles', { path, body: { name: 'Editors', permissions: { send: 'allow', revoke_others: 'allow', mention_all: 'allow' } } });
  await owner.put('/v1/spaces/{space}/roles/{role}/members/{user}', { path: { ...path, role: editors.id, user: 'Hedy' } });
  const channels = await owner.all('/v1/spaces/{space}/channels', { path });
  const channel = async (name: string, visibility: 'public' | 'private' = 'public') => channels.find(c => c.name === name) ?? owner.post('/v1/spaces/{space}/channels', { path, body: { name, visibility } });
  const general = await channel('general'), notices = await channel('notices');
  await channel('council', 'private');
  for (const [role, send] of [['everyone', 'deny'], [editors.id, 'allow']] as const) {
    await owner.put('/v1/conversations/{conversation}/overrides/{role}', { path: { conversation: notices.id, role }, body: { permissions: { send } } });
  }
  return { general, notices };
}

async function grouped(owner: Api, kind: 'group' | 'room', name: string, members: string[], settings = {}): Promise<Conversation> {
  return (await owner.all('/v1/conversations', { query: { kind } })).find(c => c.name === name) ?? owner.post('/v1/conversations', { body: { kind, name, members, settings } });
}

/** Reads all that there is in conversations, but for what burns. */
async function read(who: Api, conversations: string[]): Promise<void> {
  for (const conversation of conversations) {
    const page: Schemas['MessagePage'] = await who.get('/v1/conversations/{conversation}/messages', { path: { conversation }, query: { limit: 50 } });
    const ids = page.items.filter(m => m.sender !== who.user && m.state === 'active' && !m.burn).map(m => m.id);
    if (ids.length) await who.post('/v1/conversations/{conversation}/receipts', { path: { conversation }, body: { kind: 'read', message_ids: ids } });
  }
}

function say(who: Api, conversation: string, text: string, clientId: string, more: Partial<Schemas['SendText']> = {}): Promise<Message> {
  return who.send(conversation, { client_id: clientId, ...more, type: 'text', body: { text } });
}

const answers = [
  'A message that is taken back here is gone: its content was sealed under a key of its own, and that key is overwritten. What is left in the files and in the backups is noise. Take one back and press “Prove it”.',
  'Each of you has one event stream. If it breaks, it resumes at a cursor: nothing is lost, and nothing comes twice. Stop the server for a moment and start it again. The light by the name says how many events it caught up on.',
  'What you read now was never stored while I wrote it. It came in frames, through a data stream that lives in memory, and ended with one message. Open the drawer to watch the frames pass.',
];
let asked = 0;

/** Answers a message to the assistant: word by word, then as one message. */
export async function assist(conversation: string, replyTo: string | undefined): Promise<void> {
  const { token } = await signIn(assistant);
  const api = new Api(assistant, `demo-${random()}`, token);
  const text = answers[asked++ % answers.length]!;
  const stream: Schemas['DataStream'] = await api.post('/v1/streams', { body: { conversation_id: conversation, access: 'members', label: 'answer', idle_seconds: 30 } });
  const path = { stream: stream.id };
  const words = text.split(/(?<= )/);
  for (let i = 0; i < words.length; i += 3) {
    await api.post('/v1/streams/{stream}/frames', { path, body: { dtype: 1, text: words.slice(i, i + 3).join('') } });
    await new Promise(resolve => setTimeout(resolve, 110));
  }
  await api.post('/v1/streams/{stream}/end', { path, body: { message: { type: 'text', body: { text }, ...(replyTo && { reply_to: replyTo }) } } });
}
