import type { Attributes, Counter, Histogram, Meter, MeterProvider, Span, Tracer } from '@opentelemetry/api';
import { isAgentUpError } from './errors.js';

type Api = typeof import('@opentelemetry/api');

/** What there is to say of a turn when it ends. No ids: they may name people, and spans go far. */
export interface TurnNote {
  /** `skill-id.method`, or the name of a function. */
  readonly handler: string;
  /** Its id in the configuration, where an agent has called it. */
  readonly skill?: string | undefined;
  backend?: string | undefined;
  /** It became part of a turn that was running: no turn of its own, and not counted as one. */
  joined?: boolean | undefined;
  redelivered?: boolean | undefined;
  /** The storage was down, and it ran without memory. */
  degraded?: boolean | undefined;
}

/** One call of a storage. */
export interface OperationNote {
  readonly operation: string;
  readonly backend: string;
  readonly space: string;
  /** What came of it; `ok` when nobody says. */
  outcome?: string | undefined;
}

/** One exchange of a sync with its remote. */
export interface ExchangeNote {
  readonly operation: 'sync.send' | 'sync.pull';
  /** What came of it; `ok` when nobody says. */
  outcome?: string | undefined;
  /** It has failed: the code of the error. */
  failure?: string | undefined;
  /** How much of what, by the names of attributes. Numbers only: nothing that was said. */
  counts?: Readonly<Record<string, number>> | undefined;
}

let api: Api | undefined;
let loading: Promise<boolean> | undefined;
let active: Telemetry | undefined;

/**
 * Loads `@opentelemetry/api` where the project has it; called before the first storage is opened.
 * @returns whether it has
 */
export function loadTelemetry(): Promise<boolean> {
  loading ??= import('@opentelemetry/api').then(
    (loaded) => {
      api = loaded;
      return true;
    },
    (error: unknown) => {
      if ((error as { code?: unknown }).code === 'ERR_MODULE_NOT_FOUND') return false;
      throw error;
    },
  );
  return loading;
}

/** Spans and metrics, where an SDK is there to take them. Asked anew each time: one may be registered late. */
export function activeTelemetry(): Telemetry | undefined {
  if (!api) return undefined;
  const meters = api.metrics.getMeterProvider();
  if (!isTracing(api) && !isMetering(api, meters)) return undefined;
  if (active?.meters !== meters) active = new Telemetry(api, meters);
  return active;
}

/** The provider that stands where no SDK has put its own. */
let idle: unknown;

function isTracing({ trace, ProxyTracerProvider }: Api): boolean {
  const provider = trace.getTracerProvider();
  if (!(provider instanceof ProxyTracerProvider)) return true;
  idle ??= new ProxyTracerProvider().getDelegate();
  return provider.getDelegate() !== idle;
}

let metering: { readonly provider: MeterProvider; readonly is: boolean } | undefined;

function isMetering({ createNoopMeter }: Api, provider: MeterProvider): boolean {
  if (metering?.provider !== provider) {
    metering = { provider, is: provider.getMeter(NAME) !== createNoopMeter() };
  }
  return metering.is;
}

const NAME = 'agentup';
/** Bounds in seconds that tell a turn in memory from one on a distant server. */
const BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** The spans and metrics of this package. */
export class Telemetry {
  /** What the instruments were made by. */
  readonly meters: MeterProvider;
  readonly #api: Api;
  readonly #tracer: Tracer;
  readonly #turnDuration: Histogram;
  readonly #turns: Counter;
  readonly #operationDuration: Histogram;
  readonly #exchangeDuration: Histogram;

  constructor(loaded: Api, meters: MeterProvider) {
    this.#api = loaded;
    this.meters = meters;
    this.#tracer = loaded.trace.getTracer(NAME);
    const meter = meters.getMeter(NAME);
    this.#turnDuration = duration(meter, 'agentup.turn.duration', 'How long turns take, waiting included');
    this.#turns = meter.createCounter('agentup.turns', { description: 'Turns, by what came of them', unit: '{turn}' });
    this.#operationDuration = duration(meter, 'agentup.storage.duration', 'How long calls of the storage take');
    this.#exchangeDuration = duration(meter, 'agentup.sync.duration', 'How long exchanges with a remote take');
  }

  /** Runs a turn in a span that is the parent of what the handler does. */
  turn<T>(note: TurnNote, run: () => Promise<T>): Promise<T> {
    const start = performance.now();
    return this.#tracer.startActiveSpan('agentup.turn', (span) =>
      run().then(
        (result) => {
          this.#endTurn(span, note, start, note.redelivered ? 'redelivered' : note.degraded ? 'degraded' : 'committed');
          return result;
        },
        (error: unknown) => {
          this.#fail(span);
          this.#endTurn(span, note, start, isAgentUpError(error) ? error.code : 'HANDLER_FAILED');
          throw error;
        },
      ),
    );
  }

  /** Runs one call of a storage in a span. */
  operation<T>(note: OperationNote, run: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const span = this.#tracer.startSpan(`agentup.${note.operation}`, { kind: this.#api.SpanKind.CLIENT });
    return run().then(
      (result) => {
        this.#endOperation(span, note, start);
        return result;
      },
      (error: unknown) => {
        note.outcome = isAgentUpError(error) ? error.code : 'STORAGE_FAILED';
        this.#fail(span);
        this.#endOperation(span, note, start);
        throw error;
      },
    );
  }

  /** Runs an exchange with a remote in a span that is the parent of its requests. */
  exchange<T>(note: ExchangeNote, run: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const options = { kind: this.#api.SpanKind.CLIENT };
    return this.#tracer.startActiveSpan(`agentup.${note.operation}`, options, (span) =>
      run().then(
        (result) => {
          this.#endExchange(span, note, start);
          return result;
        },
        (error: unknown) => {
          note.failure = isAgentUpError(error) ? error.code : 'SYNC_UNAVAILABLE';
          this.#endExchange(span, note, start);
          throw error;
        },
      ),
    );
  }

  /** The message of an error may hold what a user wrote: the outcome has to do. */
  #fail(span: Span): void {
    span.setStatus({ code: this.#api.SpanStatusCode.ERROR });
  }

  #endTurn(span: Span, note: TurnNote, start: number, outcome: string): void {
    const { handler, skill, backend, joined, redelivered } = note;
    const attributes: Attributes = {
      'agentup.handler': handler,
      ...(skill !== undefined && { 'agentup.skill': skill }),
      ...(backend !== undefined && { 'agentup.backend': backend }),
      'agentup.outcome': joined && outcome === 'committed' ? 'joined' : outcome,
    };
    span.setAttributes({ ...attributes, 'agentup.redelivered': redelivered === true });
    span.end();
    if (joined) return;
    this.#turnDuration.record((performance.now() - start) / 1000, attributes);
    this.#turns.add(1, attributes);
  }

  #endOperation(span: Span, { operation, backend, space, outcome = 'ok' }: OperationNote, start: number): void {
    const attributes: Attributes = {
      'agentup.operation': operation,
      'agentup.backend': backend,
      'agentup.space': space,
      'agentup.outcome': outcome,
    };
    span.setAttributes(attributes);
    span.end();
    this.#operationDuration.record((performance.now() - start) / 1000, attributes);
  }

  #endExchange(span: Span, { operation, outcome = 'ok', failure, counts }: ExchangeNote, start: number): void {
    const attributes: Attributes = { 'agentup.operation': operation, 'agentup.outcome': failure ?? outcome };
    span.setAttributes({ ...attributes, ...counts });
    if (failure !== undefined) this.#fail(span);
    span.end();
    this.#exchangeDuration.record((performance.now() - start) / 1000, attributes);
  }
}

function duration(meter: Meter, name: string, description: string): Histogram {
  return meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries: BOUNDS } });
}
