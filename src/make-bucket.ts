// Makes the bucket that S3_BUCKET names, unless it is there: `npm run make-bucket`. For an S3 server of one's own; at AWS
// buckets are made with the rights and rules they are to have.
import { CreateBucketCommand, HeadBucketCommand } from '@aws-sdk/client-s3';
import { readConfig } from './config.ts';
import { commandLine, runCommand } from './process.ts';
import { openS3Client } from './storage/s3-client.ts';

commandLine(
  'npm run make-bucket',
  'Makes the bucket that S3_BUCKET names, unless it is there: for an S3 server of your own.',
).parse();

await runCommand(async () => {
  const { s3 } = readConfig();
  if (s3 === null) throw new Error('S3_BUCKET names no bucket.');
  const client = openS3Client(s3, { endpoint: s3.endpoint });
  const Bucket = s3.bucket;
  try {
    const there = await client.send(new HeadBucketCommand({ Bucket })).then(
      () => true,
      (error: { name?: unknown }) => {
        if (error.name !== 'NotFound' && error.name !== 'NoSuchBucket') throw error;
        return false;
      },
    );
    if (!there) await client.send(new CreateBucketCommand({ Bucket }));
    process.stdout.write(`The bucket ${Bucket} is ${there ? 'there already' : 'made'}.\n`);
  } catch (error) {
    const { name, message } = error as Error;
    const where = s3.endpoint ?? `AWS in ${s3.region}`;
    throw new Error(`The bucket ${Bucket} of ${where} cannot be made: ${message || name}.`, { cause: error });
  } finally {
    client.destroy();
  }
});
