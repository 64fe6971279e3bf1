/** What a draft is while it is written. */
export interface DraftDetail {
  /** Its place among the drafts, from 0. */
  index: number;
  /** The whole draft so far, the start included. */
  text: string;
  /** Nothing more comes. */
  done: boolean;
}

export interface DoneDetail {
  drafts: string[];
  /** A whole number below 2^64 as text; the same one gives the same drafts. */
  seed: string;
  tokensPerSecond: number;
}

export interface ErrorDetail {
  /** A sentence in English; the element shows it under one in its own language. */
  message: string;
  retryable: boolean;
}

export interface BotDetail {
  name: string;
  handles: string[];
}

export interface GenerateOptions {
  prompt?: string;
  drafts?: number;
  seed?: number | bigint | string;
}

export interface TweetBotEventMap {
  draft: CustomEvent<DraftDetail>;
  done: CustomEvent<DoneDetail>;
  error: CustomEvent<ErrorDetail>;
  /** Who the bot is; known before its weights are here. */
  bot: CustomEvent<BotDetail>;
}

/** The element behind `<tweet-bot>`; properties are its attributes. */
export interface TweetBot extends HTMLElement {
  /** Address of a bot's folder or of a `.gguf`; without it, the site's own bot. */
  model: string | null;
  precision: string | null;
  prompt: string | null;
  drafts: string | null;
  seed: string | null;
  theme: string | null;
  backend: string | null;
  threads: string | null;
  /** The folder with `engine.html`, for pages that bundle this module. */
  host: string | null;
  /** Fetch nothing until the visitor writes or asks for drafts. */
  lazy: boolean;
  readonly texts: string[];
  generate(options?: GenerateOptions): Promise<string[]>;
  stop(): void;
  addEventListener<K extends keyof TweetBotEventMap>(
    type: K,
    listener: (this: TweetBot, event: TweetBotEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "tweet-bot": TweetBot;
  }
}
