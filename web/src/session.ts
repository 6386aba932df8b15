// Who is signed in: the demo's people by themselves, if the server is in development, or two
// people with tokens that a visitor pastes.

/** The people of the demo, as the server knows them: see web/signin.go. */
export const people = ['Ada', 'Grace', 'Alan', 'Hedy'];
export const assistant = 'Iris';

export const signsIn = document.documentElement.dataset['signIn'] === 'on';

export interface Person {
  user: string;
  token: string;
  /** Returns another token if this one is refused: it has expired, or the server has new data. */
  renew?: () => Promise<string>;
}

/** Signs one of the demo's people in. */
export async function signIn(user: string): Promise<Person> {
  const answer = await fetch('/demo/sign-in', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ user }) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.detail);
  return { user, token: json.token, renew: async () => (await signIn(user)).token };
}

/** The person of a token, which the server verifies, not this page. */
export function personOf(token: string): Person | undefined {
  try {
    const bytes = atob(token.trim().split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/'));
    const { sub } = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, c => c.charCodeAt(0))));
    return typeof sub === 'string' && sub ? { user: sub, token: token.trim() } : undefined;
  } catch {
    return undefined;
  }
}

const kept = 'imapi-demo-people';

/** Pasted tokens outlive a reload and end with the tab. */
export function keepPeople(pair: Person[]): void { sessionStorage.setItem(kept, JSON.stringify(pair)); }

export function keptPeople(): Person[] | undefined {
  try {
    const pair = JSON.parse(sessionStorage.getItem(kept) ?? 'null');
    return Array.isArray(pair) && pair.length === 2 ? pair : undefined;
  } catch {
    return undefined;
  }
}

export interface Proof {
  files: { name: string; size: number; text: boolean; control: boolean }[];
  complete: boolean;
  control: string;
  state: string;
  erased_at: string;
  shredded_at: string | null;
}

/** Searches all files of the server for the text of a message that was erased. */
export async function prove(message: string, text: string): Promise<Proof> {
  const answer = await fetch('/demo/proof', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ message_id: message, text }),
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.detail);
  return json;
}
