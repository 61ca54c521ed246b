/** What went wrong, in words for whoever sits before the page. */

const WORDS: Record<number, string> = {
  401: "The server wants a token.",
  403: "The server does not allow this.",
  404: "The server no longer has this.",
  413: "This image is too large for the server.",
  415: "The server cannot read this kind of file.",
  503: "The server is busy.",
  504: "The server took too long.",
};

export class Problem extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 where no answer came at all. */
    readonly status: number,
    /** Seconds after which the server wants to be asked again. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = "Problem";
  }
}

/** The problem that an answer tells of; `body` is its text. */
export function problemOf(status: number, body: string, retryAfter: string | null = null): Problem {
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  let words = WORDS[status] ?? `The server answered with error ${status}.`;
  try {
    const { detail, title } = JSON.parse(body) as { detail?: unknown; title?: unknown };
    const told = typeof detail === "string" && detail ? detail : title;
    if (typeof told === "string" && told) words = sentence(told);
  } catch {
    // not ours, perhaps a proxy's page: our own words for its status serve better
  }
  return new Problem(words, status, Number.isFinite(seconds) ? seconds : null);
}

/** The service begins without a capital, as one continues a line; a name that comes first stays as it is. */
function sentence(words: string): string {
  return /^[a-z]+[ ,:]/.test(words) ? words.charAt(0).toUpperCase() + words.slice(1) : words;
}

export function unreachable(): Problem {
  return new Problem("The server cannot be reached. Is it still running?", 0);
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
