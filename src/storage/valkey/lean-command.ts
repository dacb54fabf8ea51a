import { createRequire } from 'node:module';
import type { Command } from 'iovalkey';

/** Receives what becomes of commands. */
export interface CommandOwner<Call> {
  answered(call: Call, reply: unknown): void;
  refused(call: Call, error: Error): void;
}

/** What we rely on in iovalkey's command. Its constructor makes promises for every call, which we do without. */
interface CommandBase {
  name: string;
  args: string[];
  /** The cluster slot of its first key; `null` where it has none. */
  getSlot(): number | null;
  /** Called with the socket it is about to be written to. */
  toWritable(socket: object): string | Buffer;
}

/**
 * A command that costs the client a third less than iovalkey's own: no promise, no timer, no conversion of the
 * reply, which stays as it came (buffers, numbers, arrays of them).
 */
export interface LeanCommand extends CommandBase {
  /** The socket it was written to last: a client that reconnects may send it again on another. */
  readonly socket: object | undefined;
}

type LeanClass = new <Call>(name: string, args: string[], owner: CommandOwner<Call>, call: Call) => LeanCommand;
let Lean: LeanClass | undefined;

/** A command whose outcome `owner` is told. */
export function leanCommand<Call>(name: string, args: string[], owner: CommandOwner<Call>, call: Call): LeanCommand {
  Lean ??= leanClass();
  return new Lean(name, args, owner, call);
}

/** The command as the client's `sendCommand` wants it. */
export function asCommand(command: LeanCommand): Command {
  return command as unknown as Command;
}

/** Made when it is needed first: loading iovalkey takes a tenth of a second, and who keeps files never needs it. */
function leanClass(): LeanClass {
  const { Command: Base } = createRequire(import.meta.url)('iovalkey') as {
    Command: new (name: string) => CommandBase;
  };
  return class<Call> extends Base implements LeanCommand {
    socket: object | undefined;
    readonly #owner: CommandOwner<Call>;
    readonly #call: Call;

    constructor(name: string, args: string[], owner: CommandOwner<Call>, call: Call) {
      super(name);
      this.args = args;
      this.#owner = owner;
      this.#call = call;
    }

    override toWritable(socket: object): string | Buffer {
      this.socket = socket;
      return super.toWritable(socket);
    }

    resolve(reply: unknown): void {
      this.#owner.answered(this.#call, reply);
    }

    reject(error: Error): void {
      this.#owner.refused(this.#call, error);
    }

    /** Called by the base class, which would make its promises here. */
    initPromise(): void {}

    /** Called by clients with a `commandTimeout`. The connection watches over the time itself. */
    setTimeout(): void {}
  };
}
