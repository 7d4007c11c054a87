// An artifact as clients see it.
import { AppError } from '../domain/errors.ts';
import type { StoredArtifact } from '../store/artifacts.ts';

/** @throws AppError not_found, data_deleted */
export function presentArtifact(artifact: StoredArtifact | null): StoredArtifact {
  if (!artifact) throw new AppError('not_found');
  const { deletedAt, expiresAt, pending } = artifact;
  if (!deletedAt) return artifact;
  const past = expiresAt !== null && deletedAt >= expiresAt;
  const message = past
    ? pending
      ? 'The artifact was never uploaded, and given up.'
      : 'The artifact is past its retention.'
    : 'The artifact was deleted.';
  throw new AppError('data_deleted', { message });
}

export function artifactView(artifact: StoredArtifact) {
  return {
    id: artifact.id,
    object: 'artifact',
    direction: artifact.direction,
    job_id: artifact.jobId,
    content_type: artifact.contentType,
    bytes: artifact.bytes,
    sha256: artifact.sha256,
    width: artifact.width,
    height: artifact.height,
    duration_ms: artifact.durationMs,
    created_at: artifact.createdAt,
    expires_at: artifact.expiresAt,
  };
}
