/** Where the update or rollback of a service stands, and what is in force meanwhile. */
import { DEFAULT_UPDATE_CONFIG, type Service, type UpdateConfig } from './service.ts';

type Updated = Pick<Service, 'spec' | 'updateStatus'>;

export function isRollingBack({ updateStatus }: Pick<Service, 'updateStatus'>): boolean {
  return updateStatus?.state === 'rollback_started' || updateStatus?.state === 'rollback_paused';
}

/** The settings in force: the rollback's own while rolling back. */
export function updateConfigOf(service: Updated): UpdateConfig {
  const config = isRollingBack(service) ? service.spec.rollback : service.spec.update;
  return config ?? DEFAULT_UPDATE_CONFIG;
}

export function isPaused({ updateStatus }: Pick<Service, 'updateStatus'>): boolean {
  return updateStatus?.state === 'paused' || updateStatus?.state === 'rollback_paused';
}

export function isUnderWay({ updateStatus }: Pick<Service, 'updateStatus'>): boolean {
  return updateStatus?.state === 'updating' || updateStatus?.state === 'rollback_started';
}

/** An update or a rollback is under way or paused: seats may hold tasks of two specs. */
export function isBetweenVersions(service: Pick<Service, 'updateStatus'>): boolean {
  return isPaused(service) || isUnderWay(service);
}
