// Clients made by other projects' generators from the OpenAPI document: each compiles, sends a
// message, reads it back, is refused, and reads the event log. Those that support streams follow
// the stream, too. contract.mjs runs them.
import { client as heyClient } from './generated/hey/client.gen';
import * as hey from './generated/hey';
import * as orval from './generated/orval';
import { Api as SwaggerApi } from './generated/swagger';
import axios from 'axios';
import { Configuration, ConversationsApi, EventsApi, MessagesApi, SendTextTypeEnum } from './generated/openapi-generator';
import { ApiError, EventsService, MessagesService, OpenAPI } from './generated/codegen';

export interface Server {
  url: string;
  token: string;
}

/** What a client did, to compare with what was expected. */
export interface Outcome {
  sent: string | undefined;
  read: string | undefined;
  refused: string | undefined;
  logged: boolean;
  streamed?: string | undefined;
}

const conversation = '@bob';
const nobody = '@nobody';

export async function heyApi(server: Server, text: string): Promise<Outcome> {
  heyClient.setConfig({ baseUrl: server.url, auth: server.token });
  const body: hey.SendMessage = { type: 'text', body: { text } };
  const sent = await hey.sendMessage({ path: { conversation }, body, throwOnError: true });
  const read = await hey.getMessage({ path: { message: sent.data.id }, throwOnError: true });
  const refused = await hey.getConversation({ path: { conversation: nobody } });
  const log = await hey.getEventLog({ throwOnError: true });
  const { stream } = await hey.getEvents({ headers: { Accept: 'text/event-stream' } });
  const first = await stream.next();
  await stream.return(undefined as never);
  return {
    sent: 'body' in sent.data ? sent.data.body?.text : undefined,
    read: read.data.body?.text,
    refused: refused.error?.code,
    logged: log.data.items.some(event => event.type === 'message.created' && event.message?.body?.text === text),
    streamed: (first.value as unknown as hey.Event | undefined)?.type,
  };
}

export async function orvalFetch(server: Server, text: string): Promise<Outcome> {
  const init = { headers: { Authorization: `Bearer ${server.token}` } };
  const plain = globalThis.fetch;
  // Its functions take no base URL: an application passes its own fetch.
  globalThis.fetch = (input, options) => plain(new URL(String(input), server.url), options);
  try {
    const sent = await orval.sendMessage(conversation, { type: 'text', body: { text } }, init);
    if (sent.status !== 201) throw new Error(`orval: ${sent.status}`);
    const read = await orval.getMessage(sent.data.id, init);
    if (read.status !== 200) throw new Error(`orval: ${read.status}`);
    const refused = await orval.getConversation(nobody, init);
    const log = await orval.getEventLog(undefined, init);
    if (log.status !== 200) throw new Error(`orval: ${log.status}`);
    return {
      sent: 'body' in sent.data ? sent.data.body?.text : undefined,
      read: read.data.body?.text,
      refused: refused.status === 404 ? refused.data.code : undefined,
      logged: log.data.items.some(event => event.type === 'message.created' && event.message?.body?.text === text),
    };
  } finally {
    globalThis.fetch = plain;
  }
}

export async function swaggerTypescript(server: Server, text: string): Promise<Outcome> {
  const api = new SwaggerApi<string>({
    baseUrl: server.url,
    securityWorker: token => ({ headers: { Authorization: `Bearer ${token}` } }),
  });
  api.setSecurityData(server.token);
  const sent = await api.v1.sendMessage(conversation, { type: 'text', body: { text } });
  const read = await api.v1.getMessage(sent.data.id);
  const refused = await api.v1.getConversation(nobody).catch(answer => answer);
  const log = await api.v1.getEventLog();
  const stream = await api.v1.getEvents();
  const chunk = await stream.body!.getReader().read();
  return {
    sent: 'body' in sent.data ? sent.data.body?.text : undefined,
    read: read.data.body?.text,
    refused: refused.error?.code,
    logged: log.data.items.some(event => event.type === 'message.created' && event.message?.body?.text === text),
    streamed: /^event: (.*)$/m.exec(new TextDecoder().decode(chunk.value))?.[1],
  };
}

export async function typescriptCodegen(server: Server, text: string): Promise<Outcome> {
  OpenAPI.BASE = server.url;
  OpenAPI.TOKEN = server.token;
  const sent = await MessagesService.sendMessage(conversation, { type: 'text', body: { text } });
  const read = await MessagesService.getMessage(sent.id);
  const refused = await MessagesService.getMessage('nothing').catch((error: ApiError) => error);
  const log = await EventsService.getEventLog();
  return {
    sent: 'body' in sent ? sent.body?.text : undefined,
    read: read.body?.text,
    refused: refused instanceof ApiError ? refused.body.code : undefined,
    logged: log.items.some(event => event.type === 'message.created' && 'message' in event && event.message?.body?.text === text),
  };
}

export async function openapiGenerator(server: Server, text: string): Promise<Outcome> {
  const configuration = new Configuration({ basePath: server.url, accessToken: server.token });
  const messages = new MessagesApi(configuration);
  const sent = await messages.sendMessage(conversation, { type: SendTextTypeEnum.Text, body: { text } });
  const read = await messages.getMessage(sent.data.id);
  const refused = await new ConversationsApi(configuration).getConversation(nobody).catch((error: unknown) => error);
  const log = await new EventsApi(configuration).getEventLog();
  return {
    sent: sent.data.body?.text,
    read: read.data.body?.text,
    refused: axios.isAxiosError(refused) ? refused.response?.data.code : undefined,
    logged: log.data.items.some(event => event.type === 'message.created' && 'message' in event && event.message?.body?.text === text),
  };
}
