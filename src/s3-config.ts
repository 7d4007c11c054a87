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

type Name = 'S3_BUCKET' | 'S3_ENDPOINT' | 'S3_PUBLIC_ENDPOINT' | 'S3_PREFIX' | 'S3_REGION';

interface Variables {
  text(name: Name): string | null;
  url(name: Name, protocols: string[]): string | null;
  /** Where S3_REGION is not set. */
  region: string;
}

/** Null: the bucket is not set. @throws Error naming the variable and what it should be */
export function readS3Config({ text, url, region }: Variables): S3Config | null {
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
    region: text('S3_REGION') ?? region,
    prefix: prefix === '' ? '' : `${prefix}/`,
    publicEndpoint: url('S3_PUBLIC_ENDPOINT', ['http:', 'https:']),
  };
}
