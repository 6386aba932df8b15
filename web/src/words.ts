// What the page says, in English and Chinese.
import { Problem, TransportError, type Schemas } from '@imapi/client';
import type { IconName } from './parts';

const english = {
  tagline: 'Messages that can be taken back. Everywhere, for good.',
  phones: 'Two phones', window: 'One window', theme: 'Dark or light', language: '中文',
  person: 'Person', chats: 'Chats', search: 'Search messages', nothingFound: 'Nothing found.',
  newChat: 'New chat', newGroup: 'New group', newRoom: 'New room', newSpace: 'New space', newChannel: 'New channel', create: 'Create', save: 'Save', saved: 'Saved', cancel: 'Cancel', close: 'Close', back: 'Back',
  newGroupNote: 'A few people who know each other: who has read what, threads, roles.', newRoomNote: 'Anybody who has its id may come in. It has no receipts and no unread counts.', newSpaceNote: 'Channels, and roles that say who may do what.', joinById: 'Join by id', joinByIdNote: 'A room, an open group or an open space that somebody gave you the id of.', id: 'Id', copyId: 'Copy the id',
  nameOf: (what: string) => `Name of the ${what}`, theGroup: 'group', theRoom: 'room', theSpace: 'space', theChannel: 'channel', theThread: 'thread', theRole: 'role', announcementOptional: 'Announcement (optional)', firstChannel: 'Name of the first channel', general: 'general',
  addPeople: 'Add', invitePeople: 'Invite', addThem: 'Who is in it', inviteThem: 'Whom to invite', somebodyElse: 'Somebody else', addName: 'Add this name', invitedNow: 'Invited', withdraw: (who: string) => `Withdraw the invitation of ${who}`, addOrInvite: 'Add or invite',
  history: 'New members read', historyJoined: 'From when they join', historyAll: 'Everything', joining: 'Who may join', joinClosed: 'Only people who are added or invited', joinOpen: 'Everybody who has the id', inviting: 'Who may add and invite', inviteAdmins: 'The owner and admins', inviteMembers: 'All members',
  visibility: 'Who sees it', visiblePublic: 'All members of the space', visiblePrivate: 'Only some of them', whoReads: 'Who sees it', whoWrites: 'Who writes', everyoneWrites: 'Everyone', rolesWrite: 'Only some roles', asInSpace: 'As in the space', allow: 'Allow', deny: 'Deny', inherit: '—',
  roleOf: (who: string) => `Role of ${who}`, change: (who: string) => `Change ${who}`, handOver: 'Hand over', handOverTo: (who: string) => `Make ${who} the owner`, handOverSure: (who: string) => `${who} becomes the owner in your place.`, successor: 'Who becomes the owner', lastOne: 'You are the last one here.', leaveSure: 'You will no longer receive what is written there.', leaveTitle: (what: string) => `Leave ${what}?`,
  deleteSure: 'Really delete this for everyone? It cannot be undone.', settings: 'Settings', newRole: 'New role', changeRole: (name: string) => `Change the role ${name}`, deleteRole: 'Delete the role', deleteSpace: 'Delete the space', mute: 'Mute', unmute: 'Unmute', showAll: 'Show all', stopUpload: 'Stop', peopleTitle: 'Members and roles', tooMany: (n: number) => `and ${n} more`, all: 'everyone',
  can: {
    view: 'see channels', send: 'write', mention_all: 'mention everyone at once', create_thread: 'start threads', manage_threads: 'manage threads', revoke_own: 'take back own messages', revoke_others: 'take back messages of others', delete_others: 'delete messages of others', invite: 'invite people', kick: 'remove people', mute: 'mute people',
    manage_members: 'add people, change lists', manage_roles: 'change and give roles', manage_conversation: 'manage channels', manage_space: 'change the space', manage_retention: 'set how long messages are kept', delete: 'delete everything',
  } as Record<Schemas['Permission'], string>,
  problems: {
    has_left: 'One of them has left before, and can only be invited.', blocked: 'One of them has blocked you.', on_deny_list: 'One of them is not allowed in here.', permission_denied: 'You may not do this any more.', owner_must_hand_over: 'The owner must hand over first.', too_many_members: 'There is no room for more members.',
    conversation_not_found: 'There is nothing with this id, or it is not open to you.', space_not_found: 'There is nothing with this id, or it is not open to you.', revoke_window_expired: 'It is too late to take this back.', slow_mode: 'Slow mode: wait a moment.', message_too_large: 'This message is too long.', attachment_too_large: 'This file is too large.',
  } as Partial<Record<Schemas['ProblemCode'], string>>,
  noAnswer: 'The server did not answer. Try again.',
  noChats: 'No chats yet. Start one with +.', pick: 'Pick a chat to read it.', first: 'Say something: nothing is written here yet.',
  direct: 'Direct', group: 'Group', room: 'Room', space: 'Space', thread: 'Thread', channel: 'Channel', members: (n: number) => n === 1 ? '1 member' : `${n} members`,
  live: 'Live', connecting: 'Connecting', reconnecting: 'Reconnecting', stopped: 'Not listening',
  caughtUp: (n: number) => n === 1 ? 'Back. Caught up on 1 event' : `Back. Caught up on ${n} events`,
  today: 'Today', yesterday: 'Yesterday', you: 'You', earlier: 'Earlier messages',
  message: 'Message', messageTo: (who: string) => `Message ${who}`, send: 'Send', attach: 'Attach a file', burnAfter: 'Burn after reading', burnOff: 'Do not burn',
  seconds: (n: number) => n < 60 ? `${n} s` : n < 3600 ? `${n / 60} min` : n < 86400 ? `${n / 3600} h` : n === 86400 ? '1 day' : `${n / 86400} days`,
  typing: (who: string) => `${who} is typing`, writing: (who: string) => `${who} is writing…`,
  sending: 'Sending', waiting: 'Waiting for the server', failed: 'Not sent', again: 'Try again', discard: 'Discard',
  sent: 'Sent', delivered: 'Delivered', read: 'Read', readBy: (n: number) => `Read by ${n}`,
  more: 'Actions for this message', reply: 'Reply', copy: 'Copy text', copied: 'Copied', startThread: 'Start a thread', openThread: 'Open the thread',
  takeBack: 'Take back', hide: 'Hide for me', whoRead: 'Who has read it', mention: 'Mention',
  takeBackTitle: 'Take this message back?', takeBackText: 'Its content is destroyed on the server, in every backup, and on every device. Only the fact that it was here stays.',
  reason: 'Reason (optional, everyone sees it)', takeBackNow: 'Take it back',
  youTookBack: 'You took a message back', tookBack: (who: string) => `${who} took a message back`, removedBy: (who: string, of: string) => `${who} took back a message of ${of}`,
  burned: 'Burned after reading', expired: 'Disappeared', writeAnew: 'Write anew', proveIt: 'Prove it',
  covered: 'Tap to read', burnsAfter: (time: string) => `Burns ${time} after you read it`, burnsUnread: (time: string) => `Burns ${time} after reading`, burnsIn: (n: number) => `Burns in ${n} s`, burnNow: 'Burn now',
  goneQuote: 'A message that is gone',
  photo: 'Photo', file: 'File', audio: 'Audio', video: 'Video', location: 'Location', data: 'Data', download: 'Download', uploading: (percent: number) => `Uploading ${percent} %`, openPicture: 'Open the picture',
  info: 'About this chat', disappearing: 'Disappearing messages', off: 'Off', disappearingNote: (time: string) => `New messages disappear after ${time}`,
  leave: 'Leave', hideChat: 'Hide this chat', deleteChat: 'Delete for everyone', announcement: 'Announcement', remove: 'Remove',
  owner: 'Owner', admin: 'Admin', member: 'Member', roles: 'Roles', everyone: 'everyone',
  mayNotSend: 'You may read here, but not write.', join: 'Join', joinThread: 'Join the thread to write', decline: 'Decline', invited: (who: string) => `${who} invites you`,
  replies: (n: number) => n === 1 ? '1 reply' : `${n} replies`, readList: 'Read', deliveredList: 'Delivered', unreadList: 'Not read yet', nobody: 'Nobody',
  wireTitle: 'What goes over the wire', wireEmpty: 'Requests and events appear here as they pass.', copyCurl: 'Copy as curl', clear: 'Clear', request: 'Request', answer: 'Answer', event: 'Event', everybody: 'Everybody',
  proofTitle: 'Where is it now?', proofWorking: 'Searching every file of the server…', proofGone: 'In no file of the data directory', proofFound: 'Still in a file of the data directory!',
  proofKey: 'Key destroyed', proofWaiting: 'The key is being destroyed…', proofShredded: (after: string) => `${after} after it was taken back. In any copy of these files it is now noise.`, proofFiles: (n: number, size: string) => `${n} files, ${size}, searched byte by byte`,
  proofControl: (who: string) => `For comparison: “${who}”, which the tombstone keeps, is found.`, proofShort: 'This text is too short to prove anything: any file may have it by chance.', yes: 'found', no: 'no', forText: 'Searched for', incomplete: 'There was not enough time for all files.',
  signInTitle: 'Two people, please', signInText: 'This server does not sign people in by itself. Make a token for each of two people, and paste them here.', token: (n: number) => `Token ${n}`, signIn: 'Sign in', badToken: 'This is not a token.',
  starting: 'Setting the scene…', failedStart: 'The server does not answer.', unread: (n: number) => `${n} unread`, mentioned: 'Somebody mentioned you', pin: 'Pin', unpin: 'Unpin',
  replyingTo: (who: string) => `Reply to ${who}`, results: (n: number) => n === 1 ? '1 message' : `${n} messages`, youObject: 'you', noThread: 'No replies yet.', jump: 'To the newest message', disappearsIn: (time: string) => `Disappears in ${time}`, ask: 'Write to Iris, or mention @Iris: the answer streams in word by word.',
  try: 'Try it', watch: 'Watch the wire',
  tour: [
    ['undo', 'Take it back', 'Send something, open its ⋯ menu, take it back. Then press “Prove it”.'],
    ['flame', 'Read, and it burns', 'Tap the covered message. Both phones count down.'],
    ['quill', 'Ask Iris', 'Her answer streams in, word by word.'],
    ['people', 'Start a group', '+ begins a group, a room or a space. Invite the other phone, and give it a role.'],
    ['plug', 'Pull the plug', 'Stop the server, keep writing, start it again: nothing is lost, nothing comes twice.'],
  ] as [IconName, string, string][],
};

type Words = typeof english;

const chinese: Words = {
  tagline: '消息可以收回，处处收回，永远消失。',
  phones: '两部手机', window: '单窗口', theme: '深色或浅色', language: 'English',
  person: '人物', chats: '聊天', search: '搜索消息', nothingFound: '没有找到。',
  newChat: '新聊天', newGroup: '新群组', newRoom: '新聊天室', newSpace: '新空间', newChannel: '新频道', create: '创建', save: '保存', saved: '已保存', cancel: '取消', close: '关闭', back: '返回',
  newGroupNote: '熟人小群：谁读过、子区、身份。', newRoomNote: '知道编号的人都能进来，没有已读回执和未读数。', newSpaceNote: '多个频道，由身份组决定谁能做什么。', joinById: '用编号加入', joinByIdNote: '别人给你编号的聊天室、开放的群组或空间。', id: '编号', copyId: '复制编号',
  nameOf: what => `${what}名称`, theGroup: '群组', theRoom: '聊天室', theSpace: '空间', theChannel: '频道', theThread: '子区', theRole: '身份组', announcementOptional: '公告（可选）', firstChannel: '第一个频道的名称', general: '综合',
  addPeople: '添加', invitePeople: '邀请', addThem: '成员', inviteThem: '邀请谁', somebodyElse: '其他人', addName: '添加这个名字', invitedNow: '已邀请', withdraw: who => `撤回给 ${who} 的邀请`, addOrInvite: '添加或邀请',
  history: '新成员可读', historyJoined: '加入之后的消息', historyAll: '全部消息', joining: '谁可以加入', joinClosed: '被添加或邀请的人', joinOpen: '知道编号的所有人', inviting: '谁可以添加和邀请', inviteAdmins: '所有者和管理员', inviteMembers: '所有成员',
  visibility: '谁能看到', visiblePublic: '空间的所有成员', visiblePrivate: '仅部分成员', whoReads: '谁能看到', whoWrites: '谁能发言', everyoneWrites: '所有人', rolesWrite: '仅部分身份组', asInSpace: '与空间相同', allow: '允许', deny: '禁止', inherit: '—',
  roleOf: who => `${who} 的身份`, change: who => `更改 ${who}`, handOver: '移交', handOverTo: who => `让 ${who} 成为所有者`, handOverSure: who => `${who} 将成为所有者，你不再是所有者。`, successor: '谁成为所有者', lastOne: '这里只剩你一个人了。', leaveSure: '你将不再收到那里的消息。', leaveTitle: what => `退出${what}？`,
  deleteSure: '真的为所有人删除？无法恢复。', settings: '设置', newRole: '新身份组', changeRole: name => `更改身份组 ${name}`, deleteRole: '删除身份组', deleteSpace: '删除空间', mute: '免打扰', unmute: '取消免打扰', showAll: '显示全部', stopUpload: '停止', peopleTitle: '成员和身份组', tooMany: n => `还有 ${n} 位`, all: '所有人',
  can: {
    view: '查看频道', send: '发言', mention_all: '提及所有人', create_thread: '创建子区', manage_threads: '管理子区', revoke_own: '撤回自己的消息', revoke_others: '撤回他人的消息', delete_others: '删除他人的消息', invite: '邀请他人', kick: '移除成员', mute: '禁言成员',
    manage_members: '添加成员、更改名单', manage_roles: '更改和授予身份组', manage_conversation: '管理频道', manage_space: '更改空间', manage_retention: '设置保留时间', delete: '全部删除',
  },
  problems: {
    has_left: '其中有人曾自行退出，只能邀请。', blocked: '其中有人屏蔽了你。', on_deny_list: '其中有人被禁止加入这里。', permission_denied: '你已无权这样做。', owner_must_hand_over: '所有者必须先移交。', too_many_members: '成员已满。',
    conversation_not_found: '没有这个编号，或未对你开放。', space_not_found: '没有这个编号，或未对你开放。', revoke_window_expired: '已超过可撤回的时间。', slow_mode: '慢速模式：请稍候。', message_too_large: '消息太长。', attachment_too_large: '文件太大。',
  },
  noAnswer: '服务器没有应答，请重试。',
  noChats: '还没有聊天，点 + 开始。', pick: '选择一个聊天。', first: '这里还没有消息，说点什么吧。',
  direct: '单聊', group: '群组', room: '聊天室', space: '空间', thread: '子区', channel: '频道', members: n => `${n} 位成员`,
  live: '在线', connecting: '正在连接', reconnecting: '正在重连', stopped: '未监听',
  caughtUp: n => `已恢复，补收 ${n} 个事件`,
  today: '今天', yesterday: '昨天', you: '你', earlier: '更早的消息',
  message: '消息', messageTo: who => `发给 ${who}`, send: '发送', attach: '添加文件', burnAfter: '阅后即焚', burnOff: '不焚毁',
  seconds: n => n < 60 ? `${n} 秒` : n < 3600 ? `${n / 60} 分钟` : n < 86400 ? `${n / 3600} 小时` : `${n / 86400} 天`,
  typing: who => `${who} 正在输入`, writing: who => `${who} 正在书写…`,
  sending: '发送中', waiting: '等待服务器', failed: '未发送', again: '重试', discard: '放弃',
  sent: '已发送', delivered: '已送达', read: '已读', readBy: n => `${n} 人已读`,
  more: '消息操作', reply: '回复', copy: '复制文字', copied: '已复制', startThread: '创建子区', openThread: '打开子区',
  takeBack: '撤回', hide: '仅对我隐藏', whoRead: '谁读过', mention: '提及',
  takeBackTitle: '撤回这条消息？', takeBackText: '内容会在服务器、所有备份和所有设备上被销毁，只留下“这里有过一条消息”。',
  reason: '原因（可选，所有人可见）', takeBackNow: '撤回',
  youTookBack: '你撤回了一条消息', tookBack: who => `${who} 撤回了一条消息`, removedBy: (who, of) => `${who} 撤回了 ${of} 的消息`,
  burned: '阅后已焚', expired: '已消失', writeAnew: '重新编辑', proveIt: '证明',
  covered: '点击阅读', burnsAfter: time => `阅读 ${time}后焚毁`, burnsUnread: time => `对方阅读 ${time}后焚毁`, burnsIn: n => `${n} 秒后焚毁`, burnNow: '立即焚毁',
  goneQuote: '已不存在的消息',
  photo: '图片', file: '文件', audio: '音频', video: '视频', location: '位置', data: '数据', download: '下载', uploading: percent => `上传 ${percent} %`, openPicture: '打开图片',
  info: '聊天详情', disappearing: '定时消失', off: '关闭', disappearingNote: time => `新消息在 ${time}后消失`,
  leave: '退出', hideChat: '隐藏聊天', deleteChat: '为所有人删除', announcement: '公告', remove: '移除',
  owner: '所有者', admin: '管理员', member: '成员', roles: '身份组', everyone: '所有人',
  mayNotSend: '你可以阅读，但不能发言。', join: '加入', joinThread: '加入子区后才能发言', decline: '拒绝', invited: who => `${who} 邀请你`,
  replies: n => `${n} 条回复`, readList: '已读', deliveredList: '已送达', unreadList: '未读', nobody: '无',
  wireTitle: '线上的请求与事件', wireEmpty: '请求和事件会显示在这里。', copyCurl: '复制为 curl', clear: '清空', request: '请求', answer: '应答', event: '事件', everybody: '所有人',
  proofTitle: '它现在在哪里？', proofWorking: '正在搜索服务器的所有文件…', proofGone: '数据目录的任何文件中都没有', proofFound: '仍在数据目录的文件中！',
  proofKey: '密钥已销毁', proofWaiting: '密钥正在销毁…', proofShredded: after => `撤回后 ${after}。这些文件的副本里只剩噪声。`, proofFiles: (n, size) => `逐字节搜索了 ${n} 个文件，${size}`,
  proofControl: who => `对照：墓碑保留的“${who}”可以找到。`, proofShort: '文字太短，无法证明：任何文件都可能碰巧包含它。', yes: '找到', no: '没有', forText: '搜索的文字', incomplete: '时间不够，未搜索所有文件。',
  signInTitle: '请登录两个人', signInText: '此服务器不会自动登录。请为两个人各生成一个令牌并粘贴到这里。', token: n => `令牌 ${n}`, signIn: '登录', badToken: '这不是令牌。',
  starting: '正在布置场景…', failedStart: '服务器没有应答。', unread: n => `${n} 条未读`, mentioned: '有人提到你', pin: '置顶', unpin: '取消置顶',
  replyingTo: who => `回复 ${who}`, results: n => `${n} 条消息`, youObject: '你', noThread: '还没有回复。', jump: '到最新消息', disappearsIn: time => `${time}后消失`, ask: '给 Iris 写信或提及 @Iris：回答会逐字出现。',
  try: '试一试', watch: '看线上的数据',
  tour: [
    ['undo', '收回', '发一条消息，打开 ⋯ 菜单收回，然后点“证明”。'],
    ['flame', '阅后即焚', '点开被遮住的消息，两边同时倒计时。'],
    ['quill', '问 Iris', '她的回答逐字出现。'],
    ['people', '建一个地方', '点 + 创建群组、聊天室或空间，邀请另一部手机，授予身份组。'],
    ['plug', '拔掉插头', '停掉服务器，继续写，再启动：不丢，不重。'],
  ],
};

export type Language = 'en' | 'zh';

const dictionaries: Record<Language, Words> = { en: english, zh: chinese };
let language: Language = 'en';

/** The words of the language that is shown. */
export let words: Words = english;

export function speak(chosen: Language): void {
  language = chosen;
  words = dictionaries[chosen];
  document.documentElement.lang = chosen === 'zh' ? 'zh-Hans' : 'en';
}

const locale = () => language === 'zh' ? 'zh-CN' : 'en-GB';

/** The time of day. */
export function clock(at: string): string {
  return new Intl.DateTimeFormat(locale(), { hour: '2-digit', minute: '2-digit' }).format(new Date(at));
}

/** The day and the time, to the second. */
export function moment(at: string): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'full', timeStyle: 'medium' }).format(new Date(at));
}

/** The day of a line between messages. */
export function day(at: string): string {
  const days = daysAgo(at);
  if (days === 0) return words.today;
  if (days === 1) return words.yesterday;
  return new Intl.DateTimeFormat(locale(), { weekday: 'long', day: 'numeric', month: 'long' }).format(new Date(at));
}

/** The time in a list: of today the time of day, else the day. */
export function when(at: string): string {
  const days = daysAgo(at);
  if (days === 0) return clock(at);
  return new Intl.DateTimeFormat(locale(), days < 7 ? { weekday: 'short' } : { day: 'numeric', month: 'short' }).format(new Date(at));
}

function daysAgo(at: string): number {
  const midnight = (time: Date) => new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime();
  return Math.round((midnight(new Date()) - midnight(new Date(at))) / 86_400_000);
}

export function bytes(size: number): string {
  for (const unit of ['B', 'KB', 'MB']) {
    if (size < 1000) return `${size < 10 && unit !== 'B' ? size.toFixed(1) : Math.round(size)} ${unit}`;
    size /= 1000;
  }
  return `${size.toFixed(1)} GB`;
}

/** A text with control characters as visible symbols: as they are, a browser shows nothing. */
export function visible(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, c => c < ' ' ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : c === '\u007f' ? '\u2421' : '\ufffd');
}

/**
 * A name as text in one line. What changes the direction of what follows, or is not seen, is
 * shown as a sign: names should not pretend to be others.
 */
export function plain(name: string): string {
  return visible(name).replace(/[\u200b-\u200f\u061c\u2028-\u202e\u2060-\u206f\ufeff]/g, c => c === '\u200d' || c === '\u200c' ? c : '\ufffd').replace(/\s+/g, ' ');
}

/** Why something failed, in the language that is shown where there are words for it. */
export function explained(error: unknown): string {
  if (error instanceof TransportError) return words.noAnswer;
  if (!(error instanceof Problem)) return error instanceof Error ? error.message : String(error);
  return (error.code && words.problems[error.code]) || error.detail || error.message;
}
