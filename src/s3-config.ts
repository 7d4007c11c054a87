/** A bucket and the way to it. Its credentials are the AWS SDK's own business. */
export interface S3Config {
  bucket: string;
  /** Null: AWS itself. */
  endpoint: string | null;
  region: string;
  /** Empty, or ends in `/`. */
  prefix: string;
  publicEndpoint: string | null;
}

/** A part of the table in variables.ts. */
export const S3_VARIABLES = {
  S3_BUCKET: {
    default: 'none',
    meaning:
      'Bucket for artifacts, instead of `artifacts/` in the data folder. Credentials come as to any AWS SDK: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, the role of the machine.',
  },
  S3_ENDPOINT: {
    default: 'AWS',
    meaning: 'Root of another S3 server than AWS. Buckets are then named in the path.',
  },
  S3_REGION: { default: 'us-east-1', meaning: 'Region of the bucket.' },
  S3_PREFIX: { default: 'none', meaning: 'Before every name in the bucket, as `millrace/live`.' },
  S3_PUBLIC_ENDPOINT: {
    default: 'none',
    meaning:
      'Root under which clients reach the same server. With it, and at AWS always, they fetch and upload bytes past the API, by presigned URLs.',
    roles: ['api'],
  },
} as const;

type Name = keyof typeof S3_VARIABLES;

interface Variables {
  text(name: Name): string | null;
  url(name: Name, protocols: string[]): string | null;
}

/** Null: the bucket is not set. @throws Error naming the variable and what it should be */
export function readS3Config({ text, url }: Variables): S3Config | null {
  const bucket = text('S3_BUCKET');
  if (bucket === null) {
    const stray = (['S3_ENDPOINT', 'S3_PUBLIC_ENDPOINT', 'S3_PREFIX'] as const).find((name) => text(name));
    if (stray) throw new Error(`${stray} is set and S3_BUCKET is not. Name the bucket, or set neither.`);
    return null;
  }
  if (!/^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/.test(bucket))
    throw new Error(`S3_BUCKET is "${bucket}"; it must be the name of a bucket.`);
  const prefix = (text('S3_PREFIX') ?? '').replace(/^\/+|\/+$/g, '');
  if (!/^[\w.-]*(\/[\w.-]+)*$/.test(prefix))
    throw new Error(
      `S3_PREFIX is "${prefix}"; it must be made of letters, digits, ".", "_" and "-", parted by "/".`,
    );
  return {
    bucket,
    endpoint: url('S3_ENDPOINT', ['http:', 'https:']),
    region: text('S3_REGION') ?? S3_VARIABLES.S3_REGION.default,
    prefix: prefix === '' ? '' : `${prefix}/`,
    publicEndpoint: url('S3_PUBLIC_ENDPOINT', ['http:', 'https:']),
  };
}
